"""Real models and data for tests of operations: ResNet-20 on CIFAR-10 and a small Llama on children's stories."""

from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from cc_ray.compress import Context, Outcome, apply_step
from cc_ray.recipe import Step
from cc_ray.schema import INSTANCES
from cc_ray.tasks import Data, Split, Task

ROOT: Final = Path(__file__).parents[2].parent / "shared" / "data"


class _Block(nn.Module):
    """Two convolutions; the shortcut takes every second place and fills up with zeros where the width doubles."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.more = stride, (width - before) // 2

    def forward(self, inputs: Tensor) -> Tensor:
        kept = inputs[:, :, :: self.stride, :: self.stride]
        shortcut = functional.pad(kept, (0, 0, 0, 0, self.more, self.more))
        hidden = torch.relu(self.bn1(self.conv1(inputs)))
        return torch.relu(self.bn2(self.conv2(hidden)) + shortcut)


class _ResNet(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for stage, (before, width) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            blocks = [_Block(before, width, 1 if stage == 1 else 2)]
            blocks += [_Block(width, width, 1) for _ in range(depth - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.bn1(self.conv1(inputs)))
        for stage in (1, 2, 3):
            hidden = self.get_submodule(f"layer{stage}")(hidden)
        scores: Tensor = self.linear(hidden.mean((2, 3)))
        return scores


class Cifar(Task):
    """Ten kinds of things on 423 test images; calibrated on 256 of the training images."""

    bases: ClassVar[tuple[str, ...]] = ("resnet20",)
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def build(self, base: str) -> nn.Module:
        return _ResNet(3).eval()

    def train(self, base: str, seed: int) -> nn.Module:
        """The published weights."""
        saved = torch.load(ROOT / "resnet_cifar" / "resnet20-12fca82f.th", map_location="cpu", weights_only=True)
        model = self.build(base)
        model.load_state_dict(OrderedDict((k.removeprefix("module."), v) for k, v in saved["state_dict"].items()))
        return model.requires_grad_()

    def data(self, split: Split) -> Data:
        return _images(split)

    def instances(self) -> pa.Table:
        return INSTANCES.schema.empty_table()

    def data_fingerprint(self) -> str:
        return "cifar"


@cache
def _images(split: Split) -> Data:
    file = "cifar10_test_0_422.npz" if split == "evaluation" else "cifar10_train_0_1999.npz"
    kept = {"train": slice(256, None), "calibration": slice(256), "evaluation": slice(None)}[split]
    with np.load(ROOT / "cifar10" / file) as held:
        pixels, labels = held["x"][kept], held["y"][kept]
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    inputs = (torch.from_numpy(pixels).float() / 255 - mean) / std
    return Data(inputs, torch.from_numpy(labels.astype(np.int64)), torch.arange(len(labels)))


class Stories(Task):
    """The next token of stories: judged on the first 100, calibrated on the beginnings of later ones."""

    bases: ClassVar[tuple[str, ...]] = ("stories260k",)
    class_names: ClassVar[tuple[str, ...]] = ()
    calibration: int = 64
    """Calibration stories, 128 tokens each."""

    def build(self, base: str) -> nn.Module:
        from transformers import AutoConfig, LlamaForCausalLM

        model: nn.Module = LlamaForCausalLM(AutoConfig.from_pretrained(ROOT / "stories260k" / "hf"))
        return model.eval()

    def train(self, base: str, seed: int) -> nn.Module:
        """The published weights."""
        from transformers import LlamaForCausalLM

        model: nn.Module = LlamaForCausalLM.from_pretrained(ROOT / "stories260k" / "hf", dtype=torch.float32)
        return model.eval()

    def data(self, split: Split) -> Data:
        stories = [story for story in _stories()[200:] if len(story) >= 128][: self.calibration]
        inputs = torch.tensor([story[:128] for story in stories])
        return Data(inputs, inputs, torch.arange(len(inputs)))

    def instances(self) -> pa.Table:
        return INSTANCES.schema.empty_table()

    def data_fingerprint(self) -> str:
        return "stories"


@cache
def _stories() -> list[list[int]]:
    """Token ids of all stories, each with the mark of the beginning."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_file(str(ROOT / "stories260k" / "hf" / "tokenizer.json"))
    text = (ROOT / "stories260k" / "tinystories_part1.txt").read_text()
    stories = [story.strip() for story in text.split("<|endoftext|>") if story.strip()]
    return [[1, *encoded.ids] for encoded in made.encode_batch(stories, add_special_tokens=False)]


@torch.no_grad()
def nats_per_token(model: nn.Module, stories: int) -> float:
    """Mean loss of the tokens of the first stories, each up to 512 tokens, the mark of the beginning given."""
    total, count = 0.0, 0
    for story in _stories()[:stories]:
        ids = torch.tensor([story[:512]])
        scores = model(ids).logits[0, :-1]
        total += float(functional.cross_entropy(scores, ids[0, 1:], reduction="sum"))
        count += ids.shape[1] - 1
    return total / count


@torch.no_grad()
def accuracy(model: nn.Module) -> float:
    """Share of the test images that are recognised."""
    data = _images("evaluation")
    scores = torch.cat([model(batch) for batch in torch.split(data.inputs, 64)])
    return float((scores.argmax(1) == data.labels).float().mean())


def compressed(task: Task, model: nn.Module, *steps: Step) -> Outcome:
    """A model after one step or more."""
    for step in steps:
        outcome = apply_step(step, model, Context(task, 0, lambda index: task.train(task.bases[0], index)))
        model = outcome.model
    return outcome


Cifar.name = "cifar"
Stories.name = "stories"
