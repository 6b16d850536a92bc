"""A task so small that operations run on it in milliseconds: learnable random images, three kinds of model."""

import copy
from functools import cache
from typing import ClassVar

import pyarrow as pa
import torch
from torch import Tensor, nn

from cc_ray.compress import Context, Outcome, apply_step
from cc_ray.recipe import Step
from cc_ray.schema import INSTANCES
from cc_ray.tasks import Data, Split, Task

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


class Tiny(Task):
    """Four noisy patterns of 8 x 8."""

    bases: ClassVar[tuple[str, ...]] = ("cnn", "vit", "mlp")
    class_names: ClassVar[tuple[str, ...]] = ("a", "b", "c", "d")

    def build(self, base: str) -> nn.Module:
        from transformers import ViTConfig, ViTForImageClassification

        if base == "cnn":
            return Residual().eval()
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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
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


Tiny.name = "tiny"
TASK = Tiny()


@cache
def _trained(base: str, seed: int) -> nn.Module:
    return TASK.train(base, seed)


def base_model(base: str, seed: int = 0) -> nn.Module:
    return copy.deepcopy(_trained(base, seed))


def context(base: str, *ancestors: nn.Module, seed: int = 0) -> Context:
    """A context whose ancestors are those given, or the base model with other weights."""
    known = ancestors or (base_model(base, seed=1),)
    return Context(TASK, seed, lambda index: copy.deepcopy(known[index]))


def run(operation: str, model: nn.Module, *ancestors: nn.Module, seed: int = 0, **parameters: object) -> Outcome:
    """Apply one operation to a model of the tiny task."""
    base = "cnn" if isinstance(model, Residual) else "vit"
    return apply_step(Step(operation, parameters), model, context(base, *ancestors, seed=seed))


def outputs(model: nn.Module) -> Tensor:
    """Class scores on the evaluation split."""
    with torch.no_grad():
        return TASK.logits(model, TASK.data("evaluation").inputs)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all plain tensors of a model."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict(keep_vars=True).items()}


def checks(outcome: Outcome) -> dict[str, str]:
    """Messages by name of check."""
    return {finding.check: finding.message for finding in outcome.findings}
