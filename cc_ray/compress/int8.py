"""What the int8 operations share: which layers they can convert, and an account of what stayed float."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from torch import nn

from cc_ray.compress.base import Context, Family, Finding, Representation
from cc_ray.compress.targets import Target, Targeted, is_layer, listed
from cc_ray.errors import NotApplicableError
from cc_ray.store.artifacts import is_quantized


class Int8(Targeted):
    """Converts the targeted layers of some kinds to tensors that compute in int8."""

    family: ClassVar[Family | None] = "quantization"
    gives: ClassVar[Representation | None] = "quantized"
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
                "kind that runs as int8 here; use uniform_quantization for others.",
            )
        return found

    def check(self, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
        """Say which layers stayed float and how much of the weights that is."""
        layers = [(path, module.weight) for path, module in child.named_modules() if is_layer(module)]
        left = {path: weight for path, weight in layers if not is_quantized(weight)}
        share = 1 - sum(w.numel() for w in left.values()) / sum(w.numel() for _, w in layers)
        if left:
            yield Finding(
                "layers_skipped",
                "warning" if share < 0.5 and not (self.include or self.exclude) else "info",
                f"int8 holds {share:.1%} of the layers' weights; {len(left)} of {len(layers)} layers stay "
                f"float: {listed(left)}.",
                layer=next(iter(left)) if len(left) == 1 else "",
                expected=1.0,
                found=share,
            )


class TorchaoInt8(Int8):
    """Converts the targeted linear layers to torchao's int8 tensors.

    Convolutions stay float: torchao converts them, but has no kernel that runs them on a CPU afterwards.
    """

    confined: ClassVar[bool] = True
    convertible: ClassVar[str] = "a linear layer"

    @abstractmethod
    def config(self) -> Any:
        """The torchao configuration; torchao is imported here, not before."""

    def converts(self, target: Target) -> bool:
        """Linear layers; subclasses, such as a projection of MultiheadAttention, are read past their forward."""
        return type(target.module) is nn.Linear and target.attribute == "weight"

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Convert every targeted linear layer."""
        paths = {target.path for target in self.targets(model, context)}
        config = self.config()
        from torchao.quantization import quantize_

        quantize_(model, config, filter_fn=lambda module, path: path in paths)
        return model
