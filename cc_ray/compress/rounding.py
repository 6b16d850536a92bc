"""What operations share that round weights to evenly spaced grids: their fields, and the grids themselves.

A grid belongs to a block of a tensor (see `store/grid.py`): the whole of it, one output channel, or a group of inputs
of one output channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from cc_ray.compress.base import Family, Representation
from cc_ray.compress.targets import Target, Targeted
from cc_ray.store.artifacts import set_scale
from cc_ray.store.grid import run_length, split_axes

Granularity = Literal["tensor", "channel", "group"]
GroupSize = Annotated[int, Field(ge=1, le=1_000_000)]
NARROWEST: Final = 2.0**-14
"""The smallest number that float16 holds with all its digits."""


@dataclass(frozen=True)
class Grid:
    """Evenly spaced values, zero among them, one grid a block."""

    scale: Tensor
    """The step between two values."""
    low: Tensor
    """How many steps the smallest value lies from zero, none or fewer."""
    high: Tensor
    """How many steps the largest one lies from zero, none or more."""

    @classmethod
    def between(
        cls, low: Tensor, high: Tensor, bits: int, *, symmetric: bool, narrow: bool = False, digits: int | None = None
    ) -> Grid:
        """The grids of 2^bits values that span given ranges.

        Args:
            low: The smallest value of each block; taken as 0 where it is larger.
            high: The largest; taken as 0 where it is smaller.
            bits: Bit width of a value.
            symmetric: Centred on zero, with one value less.
            narrow: Take steps that float16 holds, where it can.
            digits: Significant bits of a step at most.
        """
        smallest = torch.finfo(low.dtype).tiny
        low, high = low.clamp_max(0).float(), high.clamp_min(0).float()
        top = 2 ** (bits - 1) - 1 if symmetric else 2**bits - 1
        span = torch.maximum(-low, high) if symmetric else high - low
        scale = (span / top).clamp_min(smallest)
        if narrow:
            half = scale.half().float()
            scale = torch.where((half >= NARROWEST) & half.isfinite(), half, scale).masked_fill(span == 0, 1.0)
        if digits:
            mantissa, exponent = torch.frexp(scale)
            scale = torch.ldexp((mantissa * 2**digits).round() / 2**digits, exponent)
        shift = torch.full_like(scale, top) if symmetric else (-low / scale).round()
        return cls(scale, -shift, shift if symmetric else top - shift)

    def rounded(self, values: Tensor) -> Tensor:
        """The nearest values of the grids, in the type of the values."""
        scale, low, high = (spread(each, values.shape) for each in (self.scale.to(values.dtype), self.low, self.high))
        return (values / scale).round().clamp(low, high).int() * scale


class Rounding(Targeted):
    """Rounds the targeted weights to evenly spaced grids; zeros stay zero."""

    family: ClassVar[Family | None] = "quantization"
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated"})
    gives: ClassVar[Representation | None] = "simulated"
    realised_on: ClassVar[frozenset[str]] = frozenset()

    bits: Annotated[int, Field(ge=2, le=8)]
    """Bit width of a weight, from 2 to 8; scales come on top."""
    granularity: Granularity = "channel"
    """One grid for each tensor, for each output channel, or for each group of inputs of an output channel."""
    group_size: GroupSize | None = Field(default=None, validate_default=True)
    """For groups: how many weights share a grid at most. Whole kernels of a convolution stay together, at least one."""
    symmetric: bool = True
    """Whether the grid is centred on zero (2^bits - 1 values) or spans the smallest to the largest weight."""

    @field_validator("group_size")
    @classmethod
    def _goes_with_groups(cls, value: int | None, info: ValidationInfo) -> int | None:
        grouped = info.data.get("granularity") == "group"
        if grouped and value is None:
            raise ValueError("granularity 'group' needs it, such as 32, 64 or 128")
        if not grouped and value is not None:
            raise ValueError("only granularity 'group' has groups; leave it out")
        return value

    def counts(self, target: Target) -> tuple[int, ...]:
        """Grids along each axis of a tensor."""
        return block_counts(target, self.granularity, self.group_size)

    def grid(self, target: Target) -> Grid:
        """The grids of a tensor as it is."""
        return grid_of(target.tensor.detach(), self.counts(target), self.bits, symmetric=self.symmetric)

    def put(self, target: Target, values: Tensor, scale: Tensor) -> None:
        """Give a tensor its values, whole multiples of a scale, and leave the scale beside it."""
        with torch.no_grad():
            target.tensor.copy_(values)
        set_scale(target.module, scale.to(target.tensor.dtype), target.attribute)

    def round(self, target: Target) -> None:
        """Round a tensor to its own grids."""
        grid = self.grid(target)
        self.put(target, grid.rounded(target.tensor.detach()), grid.scale)


def block_counts(target: Target, granularity: Granularity, group_size: int | None = None) -> tuple[int, ...]:
    """How many blocks a tensor has along each axis."""
    shape = target.tensor.shape
    if granularity == "tensor" or len(shape) < 2:
        return (1,) * len(shape)
    counts = [1] * len(shape)
    counts[target.channel_axis] = shape[target.channel_axis]
    if granularity == "group":
        inputs = 1 - target.channel_axis
        kernel = shape[2:].numel()
        counts[inputs] = run_length(shape[inputs], max(1, (group_size or 1) // kernel))
    return tuple(counts)


def grid_of(weight: Tensor, counts: Sequence[int], bits: int, *, symmetric: bool) -> Grid:
    """The grids that span the values of each block of a tensor."""
    low, high = (over_blocks(weight, counts, reduced) for reduced in (torch.amin, torch.amax))
    narrow = bool(split_axes(tuple(counts), tuple(weight.shape)))
    return Grid.between(low, high, bits, symmetric=symmetric, narrow=narrow)


def over_blocks(values: Tensor, counts: Sequence[int], reduced: Callable[..., Tensor]) -> Tensor:
    """What a function such as `torch.amin` says of each block; places of a shorter last block count again."""
    axes = [axis for axis, count in enumerate(counts) if count == 1]
    if axes:
        values = reduced(values, axes, keepdim=True)
    for axis in split_axes(tuple(counts), tuple(values.shape)):
        length, run = values.shape[axis], run_length(values.shape[axis], counts[axis])
        places = torch.arange(counts[axis] * run).clamp_max(length - 1)
        shape = (*values.shape[:axis], counts[axis], run, *values.shape[axis + 1 :])
        values = reduced(values.index_select(axis, places).reshape(shape), axis + 1)
    return values


def spread(entries: Tensor, shape: Sequence[int]) -> Tensor:
    """The entry of its block for each value of a tensor of this shape."""
    for axis in split_axes(tuple(entries.shape), tuple(shape)):
        run = run_length(shape[axis], entries.shape[axis])
        entries = entries.index_select(axis, torch.arange(shape[axis], device=entries.device) // run)
    return entries.expand(tuple(shape))
