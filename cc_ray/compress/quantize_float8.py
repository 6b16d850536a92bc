"""Round weights to 8-bit floats (E4M3) with a scale, in float arithmetic (simulated quantization).

The saved model takes a byte a weight. Layers compute in the floats that they had: kernels for 8-bit floats exist on
GPUs of recent kinds alone, and are not used.

Source: Micikevicius et al., 2022, "FP8 Formats for Deep Learning", https://arxiv.org/abs/2209.05433
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import torch
from torch import nn

from cc_ray.compress.base import Context, Family, Representation, operation
from cc_ray.compress.rounding import block_counts, over_blocks, spread
from cc_ray.compress.targets import Target, Targeted
from cc_ray.store.artifacts import set_scale

LARGEST: Final = torch.finfo(torch.float8_e4m3fn).max


@operation("quantize_float8")
class QuantizeFloat8(Targeted):
    """Rounds to 8-bit floats that reach as far as the weights do; small ones keep more digits than on an even grid."""

    family: ClassVar[Family | None] = "quantization"
    confined: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated"})
    gives: ClassVar[Representation | None] = "simulated"
    realised_on: ClassVar[frozenset[str]] = frozenset()
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"granularity": "tensor"})

    granularity: Literal["tensor", "channel"] = "channel"
    """One scale for each tensor, or one for each output channel."""

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Round the targets and leave their scales beside them."""
        with torch.no_grad():
            for target in self.targets(model, context):
                self._round(target)
        return model

    def _round(self, target: Target) -> None:
        weight = target.tensor
        largest = over_blocks(weight.abs(), block_counts(target, self.granularity), torch.amax)
        scale = (largest / LARGEST).clamp_min(torch.finfo(weight.dtype).tiny)
        numbers = (weight / spread(scale, weight.shape)).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
        # What rounds to -0 is 0.
        weight.copy_((numbers.to(weight.dtype) + 0.0) * scale)
        set_scale(target.module, scale, target.attribute)
