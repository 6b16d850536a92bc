"""Hold the weights of linear layers as 4-bit integers, a scale and zero point for each group; kernels multiply them so.

Groups span their smallest to their largest weight, 0 included, which stays 0. Scales have 5 significant bits (errors
grow by less than half a percent): so kernels, which take scales and zero points in bfloat16, have the very numbers that
are saved. Inputs and outputs of the layers are rounded to bfloat16, on CPUs and GPUs alike.

Source: Dettmers and Zettlemoyer, 2023, "The case for 4-bit precision: k-bit Inference Scaling Laws",
https://arxiv.org/abs/2212.09720; kernels of torch (tinygemm), as torchao's `Int4WeightOnlyConfig` calls them
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import torch
from torch import nn

from cc_ray.compress.base import Context, operation
from cc_ray.compress.conversion import Conversion, finite_weight, is_plain_linear
from cc_ray.compress.rounding import Grid, block_counts, over_blocks
from cc_ray.compress.targets import Target
from cc_ray.store.low_bit import GROUPS, GroupedInt4

BITS: Final = 4
DIGITS: Final = 5
"""Significant bits of a scale: up to 8 times it are exact in bfloat16."""


@operation("quantize_int4")
class QuantizeInt4(Conversion):
    """Makes linear layers an eighth as large, and faster where one input at a time waits for weights from memory."""

    works_on: ClassVar[str] = "linear layers"
    confined: ClassVar[bool] = True
    held: ClassVar[str] = "int4"
    convertible: ClassVar[str] = "a linear layer"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"group_size": 32})

    group_size: Literal[32, 64, 128, 256] = 128
    """How many weights of an output share scale and zero point at most; where that does not divide a layer's inputs, it
    is the largest smaller one that does. If none does, no kernel takes the layer: it is smaller, and no faster."""

    def converts(self, target: Target) -> bool:
        """Linear layers of float32."""
        return is_plain_linear(target)

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Round and convert every targeted linear layer."""
        for target in self.targets(model, context):
            self._convert(target)
        return model

    def _convert(self, target: Target) -> None:
        weight = finite_weight(self.name, target)
        fitting = [size for size in GROUPS if size <= self.group_size and weight.shape[1] % size == 0]
        counts = block_counts(target, "group", max(fitting, default=self.group_size))
        low, high = (over_blocks(weight, counts, reduced) for reduced in (torch.amin, torch.amax))
        grid = Grid.between(low, high, BITS, symmetric=False, narrow=True, digits=DIGITS)
        held = GroupedInt4.of(grid.rounded(weight), grid.scale)
        target.module.weight = nn.Parameter(held, requires_grad=False)
