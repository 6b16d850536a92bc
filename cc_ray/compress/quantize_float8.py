"""Round weights to 8-bit floats (E4M3) with a scale; on recent GPUs linear layers can multiply 8-bit floats as such.

The saved model takes a byte a weight. With `activations="float"` layers compute in the floats that they had. With
"dynamic" linear layers round each row of their inputs to 8-bit floats, too: GPUs of compute capability 8.9 and above
multiply these, and elsewhere the same is rounded and floats are multiplied.

Source: Micikevicius et al., 2022, "FP8 Formats for Deep Learning", https://arxiv.org/abs/2209.05433
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from cc_ray.compress.base import Context, Finding, Representation, operation
from cc_ray.compress.conversion import Conversion, finite_weight, is_plain_linear
from cc_ray.compress.rounding import block_counts, over_blocks, spread
from cc_ray.compress.targets import Target
from cc_ray.store.artifacts import set_palette, set_scale
from cc_ray.store.low_bit import LARGEST, DynamicFloat8


@operation("quantize_float8")
class QuantizeFloat8(Conversion):
    """Rounds to 8-bit floats that reach as far as the weights do; small ones keep more digits than on an even grid."""

    confined: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated"})
    realised_on: ClassVar[frozenset[str]] = frozenset({"cuda"})
    held: ClassVar[str] = "float8"
    convertible: ClassVar[str] = "a linear layer"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"granularity": "tensor"}, {"activations": "dynamic"})

    granularity: Literal["tensor", "channel"] = "channel"
    """One scale for each tensor, or one for each output channel."""
    activations: Literal["float", "dynamic"] = "float"
    """Inputs of layers stay as they are (simulated quantization, of convolutions, too), or linear layers round each row
    of theirs to 8-bit floats with a scale of its own, as GPUs multiply them."""

    def makes(self, given: Representation) -> Representation:
        """Low bits where inputs are rounded, too."""
        return "quantized" if self.activations == "dynamic" else "simulated"

    def runs_on(self) -> frozenset[str]:
        """GPUs multiply 8-bit floats by 8-bit floats alone."""
        return self.realised_on if self.activations == "dynamic" else frozenset()

    def converts(self, target: Target) -> bool:
        """All, or linear layers of float32 where inputs are rounded, too."""
        return self.activations == "float" or is_plain_linear(target)

    def check(self, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
        """Where inputs are rounded, too, say which layers stayed float."""
        return super().check(parent, child) if self.activations == "dynamic" else iter(())

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Round the targets, and leave their scales beside or within them."""
        put = _convert if self.activations == "dynamic" else _round
        with torch.no_grad():
            for target in self.targets(model, context):
                largest = over_blocks(target.tensor.abs(), block_counts(target, self.granularity), torch.amax)
                put(target, (largest / LARGEST).clamp_min(torch.finfo(target.tensor.dtype).tiny))
        return model


def _round(target: Target, scale: Tensor) -> None:
    target.tensor.copy_(_rounded(target.tensor, scale))
    set_scale(target.module, scale, target.attribute)


def _convert(target: Target, scale: Tensor) -> None:
    weight = finite_weight(QuantizeFloat8.name, target)
    held = DynamicFloat8.of(_rounded(weight, scale), scale)
    target.module.weight = nn.Parameter(held, requires_grad=False)
    set_scale(target.module, None)
    set_palette(target.module, None)


def _rounded(weight: Tensor, scale: Tensor) -> Tensor:
    numbers = (weight / spread(scale, weight.shape)).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
    # What rounds to -0 is 0.
    return (numbers.to(weight.dtype) + 0.0) * scale
