"""How many times faster a step is on a GPU than on one thread of a CPU, and the timing of a pass:
`pytest -m "benchmark and gpu" -s tests/benchmarks/test_gpu.py`.

Once for the small residual network of the digits, whose kernels are over before the next one is started, and once for a
network of 1.2 million weights on images of 32 x 32.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache
from typing import ClassVar

import pyarrow as pa
import pytest
import torch
from torch import nn

from cc_ray.compress import Context, apply_step
from cc_ray.evaluate.latency import time_batches, time_beside
from cc_ray.evaluate.predictions import predict
from cc_ray.recipe import Step
from cc_ray.schema import INSTANCES
from cc_ray.tasks import Data, Split, Task, holding, repeatable
from cc_ray.tasks.digits import Digits

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.benchmark,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
TUNE = Step("fine_tune", {"epochs": 1})
SIZES: dict[Split, int] = {"train": 512, "calibration": 64, "evaluation": 2048}


class Wide(Task):
    """Noise of 32 x 32 pixels: what it shows does not change how long it takes."""

    bases: ClassVar[tuple[str, ...]] = ("cnn",)
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def build(self, base: str) -> nn.Module:
        layers: list[nn.Module] = []
        for channels_in, channels, stride in ((3, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)):
            layers += [nn.Conv2d(channels_in, channels, 3, stride, 1), nn.BatchNorm2d(channels), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)).eval()

    def train(self, base: str, seed: int) -> nn.Module:
        return self.build(base)

    def data(self, split: Split) -> Data:
        return _noise(split)

    def instances(self) -> pa.Table:
        return INSTANCES.schema.empty_table()

    def data_fingerprint(self) -> str:
        return "noise"


Wide.name = "wide"


@cache
def _noise(split: Split) -> Data:
    count = SIZES[split]
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 3, 32, 32, generator=generator)
    return Data(inputs, torch.randint(10, (count,), generator=generator), torch.arange(count))


@pytest.mark.parametrize("task", [Digits(), Wide()], ids=lambda task: task.name)
def test_a_gpu_against_one_thread(task: Task) -> None:
    model, data = task.build(task.bases[0]), task.data("evaluation")
    context = Context(task, 0, lambda _: model)

    def tune() -> object:
        return apply_step(TUNE, model, context)

    def evaluate() -> object:
        return predict(task, model, data).outputs

    torch.set_num_threads(1)
    cpu = {"fine_tune, 1 epoch": _best_s(tune), f"{len(data)} instances": _best_s(evaluate)}
    timed = time_beside(task, model, model), time_batches(task, model)
    with holding(1), repeatable():
        gpu = [_best_s(tune, times=3), _best_s(evaluate, times=3)]
    with holding(1):
        timed_there = time_beside(task, model, model), time_batches(task, model)
    _say(f"{task.name}, {task.bases[0]}, one thread against {torch.cuda.get_device_name()}:")
    for (what, before), after in zip(cpu.items(), gpu, strict=True):
        _say(f"  {what}: {before:.3f} s / {after:.3f} s = {before / after:.1f}")
    medians = [sorted(each.model_ms.ravel())[each.model_ms.size // 2] for each in (*timed, *timed_there)]
    _say(f"  latency of one: {medians[0]:.3f} ms / {medians[2]:.3f} ms = {medians[0] / medians[2]:.1f}")
    _say(f"  latency of a batch: {medians[1]:.3f} ms / {medians[3]:.3f} ms = {medians[1] / medians[3]:.1f}")


def _best_s(work: Callable[[], object], times: int = 2) -> float:
    """The shortest of several times, so that what is loaded once does not count."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
