"""Ranges of what layers are fed with, over instances of the calibration split, at places that are not padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from cc_ray.compress.base import Context
from cc_ray.compress.inputs import feed
from cc_ray.compress.targets import Target

Range = tuple[float, float]
"""Smallest and largest value; zero is between them."""

BINS: Final = 2048
SHARES: Final = tuple(share / 50 for share in range(50, 9, -1))
"""Shares of a range that are tried, the whole of it first."""


def input_ranges(model: nn.Module, targets: Sequence[Target], context: Context, instances: int) -> dict[str, Range]:
    """What the inputs of layers lie between, by path of the layer; layers that are never called are left out.

    Args:
        model: Runs as it is, on the step's device.
        targets: The layers.
        context: Gives task and data.
        instances: How many calibration instances at most.
    """
    modules = {target.path: target.module for target in targets}
    found: dict[str, Range] = {}

    def widen(path: str, inputs: Tensor) -> None:
        low, high = (float(each) for each in inputs.aminmax())
        before = found.get(path, (0.0, 0.0))
        found[path] = min(low, before[0]), max(high, before[1])

    feed(model, modules, context, instances, widen)
    return found


def clipped_ranges(
    model: nn.Module, targets: Sequence[Target], context: Context, instances: int, levels: int
) -> dict[str, Range]:
    """The part of each range in which rounding to evenly spaced values errs least; what lies beyond is cut off.

    Args:
        model: Runs as it is, on the step's device, twice.
        targets: The layers.
        context: Gives task and data.
        instances: How many calibration instances at most.
        levels: Steps from the smallest to the largest value.
    """
    ranges = input_ranges(model, targets, context, instances)
    modules = {target.path: target.module for target in targets}
    counts = {path: torch.zeros(BINS) for path in ranges}

    def count(path: str, inputs: Tensor) -> None:
        low, high = ranges[path]
        # GPUs count in no order of their own, which torch does not take for repeatable.
        counts[path] += torch.histc(inputs.float().cpu(), BINS, low, high)

    feed(model, modules, context, instances, count)
    return {path: _least_error(counts[path], *ranges[path], levels) for path in ranges}


def _least_error(counts: Tensor, low: float, high: float, levels: int) -> Range:
    """The share of a range with the smallest squared error, from how often its even parts were met."""
    width = (high - low) / BINS
    centres = low + width * (torch.arange(BINS) + 0.5)

    def error(share: float) -> float:
        step = share * (high - low) / levels
        beyond = centres - centres.clamp(share * low, share * high)
        return float((counts * (beyond.square() + step**2 / 12)).sum())

    best = min(SHARES, key=error)
    return best * low, best * high
