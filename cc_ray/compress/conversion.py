"""What operations share that convert layers to tensors of low bits: which they take, and an account of the others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from cc_ray.compress.base import Context, Family, Finding, Representation
from cc_ray.compress.targets import Target, Targeted, is_layer, listed
from cc_ray.errors import NotApplicableError
from cc_ray.store.artifacts import is_quantized
from cc_ray.store.low_bit import LowBit


class Conversion(Targeted):
    """Converts the targeted layers of some kinds to tensors that compute in low bits."""

    family: ClassVar[Family | None] = "quantization"
    gives: ClassVar[Representation | None] = "quantized"
    held: ClassVar[str] = "int8"
    """What the tensors hold, for messages."""
    convertible: ClassVar[str]
    """The kinds of layers, for messages."""

    @abstractmethod
    def converts(self, target: Target) -> bool:
        """Whether the layer is of such a kind."""

    def targets(self, model: nn.Module, context: Context | None = None) -> list[Target]:
        """The convertible layers among the targets.

        Raises:
            NotApplicableError: If there are none.
        """
        chosen = super().targets(model, context)
        found = [target for target in chosen if self.converts(target)]
        if not found:
            raise NotApplicableError(
                self.name,
                f"none of {listed(target.name for target in chosen)} is the weight of {self.convertible}, the only "
                f"kind that runs as {self.held} here; use uniform_quantization for others.",
            )
        return found

    def check(self, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
        """Say which layers stayed float and how much of the weights that is, and which no kernel takes."""
        layers = [(path, module.weight) for path, module in child.named_modules() if is_layer(module)]
        left = {path: weight for path, weight in layers if not is_quantized(weight)}
        share = 1 - sum(w.numel() for w in left.values()) / sum(w.numel() for _, w in layers)
        if left:
            yield Finding(
                "layers_skipped",
                "warning" if share < 0.5 and not (self.include or self.exclude) else "info",
                f"{self.held} holds {share:.1%} of the layers' weights; {len(left)} of {len(layers)} layers stay "
                f"float: {listed(left)}.",
                layer=next(iter(left)) if len(left) == 1 else "",
                expected=1.0,
                found=share,
            )
        if slow := [path for path, weight in layers if isinstance(weight, LowBit) and not weight.has_kernel]:
            yield Finding(
                "layers_without_kernel",
                "warning" if len(slow) + len(left) == len(layers) else "info",
                f"{len(slow)} of {len(layers)} layers hold {self.held} weights of shapes that no kernel takes; floats "
                f"are multiplied there, which is no faster: {listed(slow)}.",
                layer=slow[0] if len(slow) == 1 else "",
                expected=0.0,
                found=float(len(slow)),
            )


def is_plain_linear(target: Target) -> bool:
    """Whether it is the float32 weight of a linear layer whose forward calls torch's function and nothing else.

    Subclasses, such as a projection of MultiheadAttention, are read past their forward.
    """
    return type(target.module) is nn.Linear and target.attribute == "weight" and target.tensor.dtype == torch.float32


def finite_weight(operation: str, target: Target) -> Tensor:
    """The weight of a layer to be converted.

    Raises:
        NotApplicableError: If some of it is NaN or infinite, which low bits cannot hold.
    """
    weight = target.tensor.detach()
    if not weight.isfinite().all():
        raise NotApplicableError(operation, f"'{target.name}' has values that are NaN or infinite; exclude the layer.")
    return weight
