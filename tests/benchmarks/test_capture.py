"""What recording everything of a model adds to a plain pass over the evaluation split, on a real ResNet-20:
`pytest -m benchmark -s tests/benchmarks/test_capture.py`.

The model's weights are real, and so are its images, each of which is taken several times.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cc_ray.evaluate import measure
from cc_ray.evaluate.predictions import BATCH_SIZE
from cc_ray.schema import INSTANCES
from cc_ray.store import Store
from cc_ray.store.artifacts import load_model, save_model
from cc_ray.store.weights import read_weights
from cc_ray.tasks import Data, Split, Task

SHARED: Final = Path(__file__).parents[2].parent / "shared" / "data"
COPIES: Final = 24
"""Of each of the 423 images: about as many as CIFAR-10 has for testing."""


class Block(nn.Module):
    """Two convolutions and a way around them that drops and pads channels."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.stride = channels // channels_in
        self.pad = (channels - channels_in) // 2
        self.conv1 = nn.Conv2d(channels_in, channels, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(inputs)))))
        around = functional.pad(inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return functional.relu(hidden + around)


class ResNet20(nn.Module):
    """He et al., 2016, for 32 x 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32), Block(32, 32), Block(32, 32))
        self.layer3 = nn.Sequential(Block(32, 64), Block(64, 64), Block(64, 64))
        self.linear = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.layer3(self.layer2(self.layer1(functional.relu(self.bn1(self.conv1(inputs))))))
        return self.linear(hidden.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class Cifar(Task):
    """What an image of CIFAR-10 shows."""

    name: ClassVar[str] = "cifar"
    bases: ClassVar[tuple[str, ...]] = ("resnet20",)
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def build(self, base: str) -> nn.Module:
        return ResNet20().eval()

    def train(self, base: str, seed: int) -> nn.Module:
        file = next((SHARED / "resnet_cifar").glob("resnet20*"))
        weights = torch.load(file, weights_only=True, map_location="cpu")["state_dict"]
        model = self.build(base)
        model.load_state_dict({name.removeprefix("module."): tensor for name, tensor in weights.items()})
        return model

    def data(self, split: Split) -> Data:
        return _data()

    def instances(self) -> pa.Table:
        data = _data()
        rows = {
            "task_id": [self.task_id] * len(data), "instance": data.instances.tolist(),
            "label": data.labels.tolist(), "slices": [[f"class {label}"] for label in data.labels.tolist()],
        }  # fmt: skip
        return pa.table({name: pa.array(values, INSTANCES.schema.field(name).type) for name, values in rows.items()})

    def data_fingerprint(self) -> str:
        return "cifar10, many times"


@cache
def _data() -> Data:
    with np.load(SHARED / "cifar10" / "cifar10_test_0_422.npz") as file:
        pixels, labels = np.tile(file["x"], (COPIES, 1, 1, 1)), np.tile(file["y"], COPIES).astype(np.int64)
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    inputs = (torch.from_numpy(pixels).float() / 255 - mean[:, None, None]) / std[:, None, None]
    return Data(inputs, torch.from_numpy(labels), torch.arange(len(labels)))


@pytest.mark.benchmark
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real weights and images are not here")
def test_capture_on_a_real_resnet20(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    task, store = Cifar(), Store(tmp_path, create=True)
    saved = save_model(store.layout, task.train("resnet20", 0))
    model, parent = (load_model(store.layout, saved.digest, task.build("resnet20")) for _ in range(2))
    _say(f"{len(_data())} images, accuracy {_plain(task, model):.2%}")
    measure(task, model, model_id="warm-up", artifact_size=0, weights=read_weights(store.layout, saved.digest))

    plain, captured, written = [], [], []
    for round_ in range(3):
        plain.append(_seconds(partial(_plain, task, model)))
        start = time.perf_counter()
        weights = read_weights(store.layout, saved.digest)
        rows = measure(
            task, model, model_id=f"model-{round_}", artifact_size=saved.size_bytes, weights=weights,
            parent_weights=weights, parent=parent,
        )  # fmt: skip
        captured.append(time.perf_counter() - start)
        written.append(_seconds(partial(store.publish, "step", f"model-{round_}", rows)))
    _say(f"plain pass {min(plain):.2f} s; with all rows {min(captured):.2f} s; writing them {min(written):.3f} s")
    _say(f"capture costs {(min(captured) + min(written)) / min(plain) - 1:.1%} of a plain pass (at most 10 %)")


def _plain(task: Task, model: nn.Module) -> float:
    """What a script does that wants the accuracy alone."""
    data, right = task.data("evaluation"), 0
    with torch.no_grad():
        batches = zip(torch.split(data.inputs, BATCH_SIZE), torch.split(data.labels, BATCH_SIZE), strict=True)
        for inputs, labels in batches:
            right += int((model(inputs).argmax(dim=1) == labels).sum())
    return right / len(data)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}")
    sys.stdout.flush()
