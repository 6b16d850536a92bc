"""Prunings of real trained models: a language model of stories and a residual network of CIFAR-10."""

from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress import Context, apply_step
from cc_ray.recipe import Step
from cc_ray.schema import INSTANCES
from cc_ray.tasks import Data, Split, Task

SHARED = Path(__file__).parent.parent.parent.parent / "shared" / "data"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.exists(), reason="the real models and data are not here"),
]


class Real(Task):
    """A trained model with data of its own."""

    def train(self, base: str, seed: int) -> nn.Module:
        return self.build(base)

    def instances(self) -> pa.Table:
        return INSTANCES.schema.empty_table()

    def data_fingerprint(self) -> str:
        return self.name

    def measured(self, model: nn.Module) -> float:
        """The mean loss on the evaluation split."""
        data = self.data("evaluation")
        with torch.no_grad():
            batches = zip(torch.split(data.inputs, 64), torch.split(data.labels, 64), strict=True)
            return sum(float(self.loss(model, inputs, labels)) * len(labels) for inputs, labels in batches) / len(data)


class Stories(Real):
    """What the next token of a story is; 260,032 parameters. Stories are cut into windows of 256 tokens."""

    bases: ClassVar[tuple[str, ...]] = ("llama",)
    class_names: ClassVar[tuple[str, ...]] = ()

    def build(self, base: str) -> nn.Module:
        from transformers import AutoModelForCausalLM

        model: nn.Module = AutoModelForCausalLM.from_pretrained(SHARED / "stories260k" / "hf")
        return model.eval()

    def data(self, split: Split) -> Data:
        first, last = {"evaluation": (0, 100), "calibration": (100, 200), "train": (200, 300)}[split]
        windows = tokens()[first:last]
        return Data(windows, windows, torch.arange(first, last))

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.logits(model, inputs)[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


class Block(nn.Module):
    """Two convolutions; the shortcut takes every second place and fills new channels with zeros."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(inputs)))))
        more = (hidden.shape[1] - inputs.shape[1]) // 2
        shortcut = nn.functional.pad(inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, more, more))
        return torch.relu(hidden + shortcut)


class ResNet20(nn.Module):
    """Three stages of three blocks, with 16, 32 and 64 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(inputs, outputs), Block(outputs, outputs), Block(outputs, outputs))
            for inputs, outputs in ((16, 16), (16, 32), (32, 64))
        )
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.layer3(self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(images))))))
        scores: Tensor = self.linear(hidden.mean((2, 3)))
        return scores


class Cifar(Real):
    """CIFAR-10: 423 test images, and 2,000 training images of which half calibrate."""

    bases: ClassVar[tuple[str, ...]] = ("resnet20",)
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def build(self, base: str) -> nn.Module:
        saved = torch.load(SHARED / "resnet_cifar" / "resnet20-12fca82f.th", map_location="cpu", weights_only=True)
        model = ResNet20()
        model.load_state_dict({name.removeprefix("module."): value for name, value in saved["state_dict"].items()})
        return model.eval()

    def data(self, split: Split) -> Data:
        file, chosen = {
            "evaluation": ("cifar10_test_0_422", slice(None)),
            "calibration": ("cifar10_train_0_1999", slice(1000)),
            "train": ("cifar10_train_0_1999", slice(1000, None)),
        }[split]
        found = np.load(SHARED / "cifar10" / f"{file}.npz")
        mean, std = (torch.tensor(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        images = (torch.from_numpy(found["x"][chosen]).float() / 255 - mean) / std
        labels = torch.from_numpy(found["y"][chosen].astype(np.int64))
        return Data(images, labels, torch.arange(len(labels)) + (10_000 if split == "train" else 0))

    def accuracy(self, model: nn.Module) -> float:
        data = self.data("evaluation")
        with torch.no_grad():
            return float((self.logits(model, data.inputs).argmax(1) == data.labels).float().mean())


Stories.name, Cifar.name = "stories", "cifar"


@cache
def tokens() -> Tensor:
    """Stories, each begun by the first token, one after the other in windows: (300, 256)."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(SHARED / "stories260k" / "hf")
    text = (SHARED / "stories260k" / "tinystories_part1.txt").read_text()
    stories = [story.strip() for story in text.split("<|endoftext|>") if story.strip()]
    found: list[int] = []
    for story in stories:
        found += [1, *tokenizer(story, add_special_tokens=False)["input_ids"]]
        if len(found) >= 300 * 256:
            break
    return torch.tensor(found[: 300 * 256]).view(300, 256)


def child(task: Task, operation: str, **parameters: object) -> nn.Module:
    base = task.bases[0]
    given = Context(task, 0, lambda index: task.build(base))
    return apply_step(Step(operation, parameters), task.build(base), given).model


def test_what_feeds_a_language_model_tells_more_than_magnitude() -> None:
    task = Stories()
    base = task.measured(task.build("llama"))
    losses = {
        scope: task.measured(child(task, "magnitude_pruning", sparsity=0.5, scope=scope))
        for scope in ("global", "layer", "row")
    }
    wanda = task.measured(child(task, "wanda_pruning", sparsity=0.5))
    reconstructed = task.measured(child(task, "sparsegpt_pruning", sparsity=0.5, sequential=False))

    assert base == pytest.approx(1.41, abs=0.02), "nats per token, as computed with independent code"
    assert base + 1 < wanda < min(losses.values()) - 0.3
    assert reconstructed < wanda


def test_two_of_four_in_a_language_model() -> None:
    task = Stories()
    losses = [
        task.measured(child(task, operation, sparsity=0.5, semi_structured="2:4"))
        for operation in ("sparsegpt_pruning", "wanda_pruning", "magnitude_pruning")
    ]

    assert losses == sorted(losses)


def test_pruned_norms_ruin_a_language_model_and_restoring_them_mends_it() -> None:
    task = Stories()
    model = task.build("llama")
    given = Context(task, 0, lambda index: task.build("llama"))
    prune = Step("magnitude_pruning", {"sparsity": 0.1, "scope": "layer", "include": ["*.weight"]})

    broken = apply_step(prune, model, given).model
    mended = apply_step(Step("restore", {"include": ["*norm"]}), broken, given).model

    base, ruined, back = (task.measured(each) for each in (model, broken, mended))
    assert back - base < 0.5 * (ruined - base)


def test_what_stays_makes_up_for_what_goes_in_a_residual_network() -> None:
    task = Cifar()
    base = task.accuracy(task.build("resnet20"))
    ways: dict[str, dict[str, object]] = {
        "magnitude_pruning": {},
        "wanda_pruning": {"scope": "layer"},
        "sparsegpt_pruning": {"sequential": False},
    }
    found = {name: task.accuracy(child(task, name, sparsity=0.7, **said)) for name, said in ways.items()}

    assert base == pytest.approx(0.9125, abs=0.003)
    assert found["sparsegpt_pruning"] > max(found["magnitude_pruning"], found["wanda_pruning"]) + 0.05
