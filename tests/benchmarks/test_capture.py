"""What recording everything of a model adds to a plain pass over the evaluation split, on a real ResNet-20:
`pytest -m benchmark -s tests/benchmarks/test_capture.py`.

The model's weights are real, and so are its images, each of which is taken several times.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from cc_ray.evaluate import measure
from cc_ray.evaluate.answers import BATCH_SIZE
from cc_ray.evaluate.answers.classes import Classes
from cc_ray.evaluate.predictions import predict
from cc_ray.evaluate.recorder import Alongside, Recorder
from cc_ray.schema import INSTANCES
from cc_ray.store import Store
from cc_ray.store.artifacts import Artifact, load_model, save_model
from cc_ray.store.tables import Rows
from cc_ray.store.weights import read_weights
from cc_ray.tasks import Data, Split, Task
from cc_ray.tasks.architectures.resnet_cifar import resnet20

SHARED: Final = Path(__file__).parents[2].parent / "shared" / "data"
BASE: Final = "base"
ROUNDS: Final = 3
COPIES: Final = 24
"""Of each of the 423 images: about as many as CIFAR-10 has for testing."""


class Cifar(Task):
    """What an image of CIFAR-10 shows."""

    name: ClassVar[str] = "cifar"
    bases: ClassVar[tuple[str, ...]] = ("resnet20",)
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def build(self, base: str) -> nn.Module:
        return resnet20().eval()

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


@dataclass(frozen=True)
class Child:
    """A model of the store that is to be measured, and what it is compared with."""

    task: Task
    store: Store
    artifact: Artifact
    model: nn.Module
    parent: nn.Module

    def measured(self, model_id: str, predictions: Classes) -> dict[str, Rows]:
        weights = read_weights(self.store.layout, self.artifact.digest)
        base = pa.concat_tables(self.store.pieces("predictions", "step", BASE, ("instance", "correct")))
        return measure(
            self.task, self.model, model_id=model_id, artifact_size=self.artifact.size_bytes, weights=weights,
            predictions=predictions, parent_weights=weights, parent=self.parent, base=base,
        )  # fmt: skip

    def written_meanwhile(self, model_id: str) -> None:
        """As a step does it."""
        base = Alongside(self.store, BASE)
        with self.store.grow() as growing:
            with Recorder(growing, model_id, base, base) as recorder:
                rows = self.measured(model_id, recorder.record(self.task, self.model))
            assert self.store.publish("step", model_id, rows, growing)

    def written_at_the_end(self, model_id: str) -> None:
        """The same rows, all made and written when the model has answered."""
        predictions = predict(self.task, self.model, self.task.data("evaluation"))
        rows = self.measured(model_id, predictions)
        base = self.store.read("predictions", keys={"step": BASE}).sort_by("instance")
        answers = Classes.compared(predictions.table(model_id), base=base, parent=base)
        assert self.store.publish("step", model_id, {**rows, "predictions": answers})


@pytest.mark.benchmark
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real weights and images are not here")
def test_capture_on_a_real_resnet20(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    task, store = Cifar(), Store(tmp_path, create=True)
    saved = save_model(store.layout, task.train("resnet20", 0))
    child = Child(task, store, saved, *(load_model(store.layout, saved.digest, task.build("resnet20")) for _ in "ab"))
    answers = predict(task, child.parent, task.data("evaluation"))
    assert store.publish("step", BASE, {"predictions": answers.table(BASE)})
    _say(f"{len(_data())} images, accuracy {_plain(task, child.model):.2%}")
    ways = {"plain": lambda _: _plain(task, child.model), "meanwhile": child.written_meanwhile}
    ways["at the end"] = child.written_at_the_end
    child.written_meanwhile("warm-up")

    took: dict[str, list[Took]] = {name: [] for name in ways}
    for round_ in range(ROUNDS):
        for name, way in ways.items():
            took[name].append(_took(partial(way, f"{name.replace(' ', '-')}-{round_}")))
    plain = took.pop("plain")
    _say(
        f"the plain pass takes {min(plain).clock_s:.2f} s, {min(each.here_s for each in plain):.2f} s of its processor"
    )
    for name, found in took.items():
        _say(f"capture, written {name}, costs of a plain pass (at most 10 %), best of {ROUNDS}:")
        for what in ("clock_s", "here_s", "all_s"):
            least, usual = (min(getattr(each, what) for each in some) for some in (found, plain))
            _say(f"  {least / usual - 1:+7.1%} {MEANINGS[what]}")


class Took(NamedTuple):
    """What a piece of work took, in seconds."""

    clock_s: float
    here_s: float
    all_s: float


MEANINGS: Final = {
    "clock_s": "by the clock",
    "here_s": "of the model's own thread: what the clock says where a processor is free for the writing",
    "all_s": "of all threads",
}


def _plain(task: Task, model: nn.Module) -> float:
    """What a script does that wants the accuracy alone."""
    data, right = task.data("evaluation"), 0
    with torch.no_grad():
        batches = zip(torch.split(data.inputs, BATCH_SIZE), torch.split(data.labels, BATCH_SIZE), strict=True)
        for inputs, labels in batches:
            right += int((model(inputs).argmax(dim=1) == labels).sum())
    return right / len(data)


def _took(work: Callable[[], Any]) -> Took:
    clocks = (time.perf_counter, time.thread_time, time.process_time)
    begun = [clock() for clock in clocks]
    work()
    return Took(*(clock() - start for clock, start in zip(clocks, begun, strict=True)))


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}")
    sys.stdout.flush()
