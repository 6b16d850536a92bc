"""Round weights to an evenly spaced grid of k bits, in float arithmetic (simulated quantization).

The layer keeps the grid's step in a buffer beside the weight, so that a saved model really takes k bits a weight.

Source: Jacob et al., 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", https://arxiv.org/abs/1712.05877
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, Representation, operation
from cc_ray.compress.targets import Target, Targeted
from cc_ray.store.artifacts import set_scale


@operation("uniform_quantization")
class UniformQuantization(Targeted):
    """Rounds to the nearest of 2^bits evenly spaced values; zeros stay zero."""

    confined: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated"})
    gives: ClassVar[Representation | None] = "simulated"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"bits": 4},
        {"bits": 8, "granularity": "tensor", "symmetric": False},
    )

    bits: Annotated[int, Field(ge=2, le=8)]
    """Bit width of a weight, from 2 to 8; scales come on top."""
    granularity: Literal["tensor", "channel"] = "channel"
    """One grid for each tensor, or one for each output channel."""
    symmetric: bool = True
    """Whether the grid is centred on zero (2^bits - 1 values) or spans the smallest to the largest weight."""

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Round the targets and leave their scales beside them."""
        with torch.no_grad():
            for target in self.targets(model, context):
                self._quantize(target)
        return model

    def _quantize(self, target: Target) -> None:
        weight = target.tensor
        whole = self.granularity == "tensor" or weight.dim() < 2
        axes = [axis for axis in range(weight.dim()) if whole or axis != target.channel_axis]
        # Zero is always on the grid: pruned weights and padding stay exactly zero.
        low, high = (bound(weight, axes).float() for bound in (_lowest, _highest))
        top = 2 ** (self.bits - 1) - 1 if self.symmetric else 2**self.bits - 1
        span = torch.maximum(-low, high) if self.symmetric else high - low
        scale = (span / top).clamp_min(torch.finfo(torch.float32).tiny).to(weight.dtype)
        shift = torch.zeros_like(low) if self.symmetric else (-low / scale).round()
        steps = ((weight / scale).round() + shift).clamp(-top if self.symmetric else 0, top) - shift
        weight.copy_(steps.int() * scale)
        set_scale(target.module, scale, target.attribute)


def _lowest(weight: Tensor, axes: list[int]) -> Tensor:
    return weight.amin(axes, keepdim=True).clamp_max(0)


def _highest(weight: Tensor, axes: list[int]) -> Tensor:
    return weight.amax(axes, keepdim=True).clamp_min(0)
