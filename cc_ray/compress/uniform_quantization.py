"""Round weights to an evenly spaced grid of k bits, in float arithmetic (simulated quantization).

The layer keeps the grid's step in a buffer beside the weight, so that a saved model really takes k bits a weight.

Source: Jacob et al., 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", https://arxiv.org/abs/1712.05877
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from cc_ray.compress.base import Context, operation
from cc_ray.compress.rounding import Rounding


@operation("uniform_quantization")
class UniformQuantization(Rounding):
    """Rounds to the nearest of 2^bits evenly spaced values; zeros stay zero."""

    confined: ClassVar[bool] = True
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"bits": 4},
        {"bits": 8, "granularity": "tensor", "symmetric": False},
        {"bits": 4, "granularity": "group", "group_size": 32, "symmetric": False},
    )

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Round the targets and leave their scales beside them."""
        for target in self.targets(model, context):
            self.round(target)
        return model
