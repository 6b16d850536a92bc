"""Tasks so small that operations run on them in milliseconds: learnable random images and token sequences.

`MODELS` are kinds of models that differ in what operations meet in them.
"""

import copy
from functools import cache
from typing import ClassVar, Final

import pyarrow as pa
import torch
from torch import Tensor, nn

from cc_ray.compress import Context, Outcome, apply_step
from cc_ray.recipe import Step
from cc_ray.schema import INSTANCES
from cc_ray.tasks import Data, Split, Task
from tests.seeds import drawn_from

SIZES: dict[Split, tuple[int, int]] = {"train": (0, 96), "calibration": (96, 144), "evaluation": (144, 192)}


class Residual(nn.Module):
    """A stem, a block with a projected shortcut and one with a plain shortcut, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.first = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12))
        self.shortcut = nn.Conv2d(8, 12, 1)
        self.second = nn.Sequential(
            nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 1)
        )
        self.head = nn.Linear(12, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.relu(self.stem(inputs))
        hidden = torch.relu(self.first(hidden) + self.shortcut(hidden))
        hidden = torch.relu(self.second(hidden) + hidden)
        scores: Tensor = self.head(hidden.mean((2, 3)))
        return scores


class Odd(nn.Module):
    """Reads an image row by row with layers that are neither linear nor convolutions, nor always modules."""

    def __init__(self) -> None:
        from transformers.pytorch_utils import Conv1D

        super().__init__()
        self.turned = nn.Parameter(torch.eye(8) + 0.1 * torch.randn(8, 8))
        self.recurrent = nn.GRU(8, 12, batch_first=True)
        self.paired = nn.Bilinear(12, 12, 10)
        self.transposed = Conv1D(10, 10)
        self.head = nn.Linear(10, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        states, last = self.recurrent(inputs[:, 0] @ self.turned)
        scores: Tensor = self.head(torch.relu(self.transposed(self.paired(states.mean(1), last[0]))))
        return scores


class Tiny(Task):
    """Four noisy patterns of 8 x 8."""

    bases: ClassVar[tuple[str, ...]] = ("plain", "cnn", "vit", "odd", "mlp")
    class_names: ClassVar[tuple[str, ...]] = ("a", "b", "c", "d")

    def build(self, base: str) -> nn.Module:
        from transformers import ViTConfig, ViTForImageClassification

        if base == "cnn":
            return Residual().eval()
        if base == "plain":
            return plain().eval()
        if base == "odd":
            return Odd().eval()
        if base == "mlp":
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
        config = ViTConfig(
            image_size=8, patch_size=4, num_channels=1, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=24, num_labels=4,
        )  # fmt: skip
        model: nn.Module = ViTForImageClassification(config)
        return model.eval()

    def train(self, base: str, seed: int) -> nn.Module:
        """No training: random weights, with batch-norm statistics of the data's scale."""
        with drawn_from(seed):
            model = self.build(base)
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.weight, 0.5, 1.5)
                    nn.init.normal_(module.bias, std=0.1)
        return model

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(4, (192,), generator=generator)
        patterns = torch.randn(4, 1, 8, 8, generator=generator)
        inputs = patterns[labels] + 0.5 * torch.randn(192, 1, 8, 8, generator=generator)
        chosen = slice(*SIZES[split])
        return Data(inputs[chosen], labels[chosen], torch.arange(192)[chosen])

    def instances(self) -> pa.Table:
        return INSTANCES.schema.empty_table()

    def data_fingerprint(self) -> str:
        return "tiny"


class TinyText(Task):
    """Sequences of which each token but for some noise follows from the one before, padded at their ends with 0."""

    bases: ClassVar[tuple[str, ...]] = ("language",)
    class_names: ClassVar[tuple[str, ...]] = ()

    def build(self, base: str) -> nn.Module:
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(
            vocab_size=24, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=16, tie_word_embeddings=True, pad_token_id=0,
            use_cache=False,
        )  # fmt: skip
        model: nn.Module = LlamaForCausalLM(config)
        return model.eval()

    def train(self, base: str, seed: int) -> nn.Module:
        """No training: random weights."""
        with drawn_from(seed):
            return self.build(base)

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(1, 24, (192, 13), generator=generator)
        for place in range(1, 13):
            follows = torch.rand(192, generator=generator) < 0.9
            tokens[follows, place] = tokens[follows, place - 1] * 5 % 23 + 1
        tokens[torch.arange(13) >= torch.randint(6, 14, (192, 1), generator=generator)] = 0
        chosen = slice(*SIZES[split])
        inputs, labels = tokens[chosen, :-1], tokens[chosen, 1:]
        return Data(inputs, labels.masked_fill(labels == 0, -100), torch.arange(192)[chosen])

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.logits(model, inputs).flatten(0, 1), labels.flatten())

    def instances(self) -> pa.Table:
        return INSTANCES.schema.empty_table()

    def data_fingerprint(self) -> str:
        return "tiny text"


Tiny.name = "tiny"
TinyText.name = "tiny_text"
TASK: Final = Tiny()
TEXT: Final = TinyText()
MODELS: Final = ("plain", "cnn", "vit", "language", "odd")
"""A plain and a residual CNN, two transformers of which the second has tied embeddings, and one of unusual layers."""


def plain() -> nn.Sequential:
    """Two convolutions after each other and two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 12), nn.ReLU(),
        nn.Linear(12, 4),
    )  # fmt: skip


def task_of(base: str) -> Task:
    """The task that has a base model of this name."""
    return TEXT if base in TEXT.bases else TASK


def task_for(model: nn.Module) -> Task:
    """The task that a model can answer."""
    return TEXT if hasattr(model, "lm_head") else TASK


@cache
def _trained(base: str, seed: int) -> nn.Module:
    return task_of(base).train(base, seed)


def base_model(base: str, seed: int = 0) -> nn.Module:
    return copy.deepcopy(_trained(base, seed))


def context(base: str, *ancestors: nn.Module, seed: int = 0) -> Context:
    """A context whose ancestors are those given, or the base model with other weights."""
    known = ancestors or (base_model(base, seed=1),)
    return Context(task_of(base), seed, lambda index: copy.deepcopy(known[index]))


def run(operation: str, model: nn.Module, *ancestors: nn.Module, seed: int = 0, **parameters: object) -> Outcome:
    """Apply one operation to a model of a tiny task."""
    base = "language" if task_for(model) is TEXT else "cnn" if isinstance(model, Residual) else "vit"
    return apply_step(Step(operation, parameters), model, context(base, *ancestors, seed=seed))


def outputs(model: nn.Module, base: str | None = None) -> Tensor:
    """Scores on the evaluation split; of an exported program the base model tells which task it answers."""
    task = task_for(model) if base is None else task_of(base)
    with torch.no_grad():
        return task.logits(model, task.data("evaluation").inputs)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all plain tensors of a model."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict(keep_vars=True).items()}


def checks(outcome: Outcome) -> dict[str, str]:
    """Messages by name of check."""
    return {finding.check: finding.message for finding in outcome.findings}
