"""Let weights take few shared values, found by k-means (weight sharing), in float arithmetic.

The layer keeps the values, its palette, in a buffer beside the weight, so that a saved model takes k bits a weight and
the palette.

Source: Han, Mao and Dally, 2016, "Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization
and Huffman Coding", https://arxiv.org/abs/1510.00149
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from cc_ray.compress.base import Context, Family, Representation, operation
from cc_ray.compress.targets import Target, Targeted
from cc_ray.store.artifacts import set_palette
from cc_ray.store.grid import run_length

Values = NDArray[np.float64]
ROUNDS: Final = 100
"""Most rounds of k-means; it seldom takes half of them."""


@operation("palettization")
class Palettization(Targeted):
    """Moves each weight to the nearest of 2^bits values that fit the weights best; zeros stay zero."""

    family: ClassVar[Family | None] = "weight sharing"
    confined: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated"})
    gives: ClassVar[Representation | None] = "simulated"
    realised_on: ClassVar[frozenset[str]] = frozenset()
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"bits": 3}, {"bits": 4, "channels": 4})

    bits: Annotated[int, Field(ge=1, le=8)]
    """Bit width of a weight, from 1 to 8; palettes come on top."""
    channels: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """How many output channels share a palette at most; None gives the whole tensor one."""

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Find the palettes of each target and round to them."""
        generator = np.random.default_rng(context.seed)
        for target in self.targets(model, context):
            self._palettize(target, generator)
        return model

    def _palettize(self, target: Target, generator: np.random.Generator) -> None:
        weight, axis = target.tensor.detach(), target.channel_axis
        axis = axis if weight.dim() > 1 else 0
        count = run_length(weight.shape[axis], self.channels) if self.channels and weight.dim() > 1 else 1
        parts = torch.split(weight, run_length(weight.shape[axis], count), axis)
        palettes = [torch.from_numpy(_palette(part.double().numpy(), 2**self.bits, generator)) for part in parts]
        palettes = [palette.to(weight.dtype).sort().values + 0.0 for palette in palettes]
        with torch.no_grad():
            for part, palette in zip(parts, palettes, strict=True):
                part.copy_(_nearest(part, palette))
        shape = [count if each == axis else 1 for each in range(weight.dim())]
        set_palette(target.module, torch.stack(palettes).view(*shape, -1), target.attribute)


def _nearest(values: torch.Tensor, palette: torch.Tensor) -> torch.Tensor:
    """The nearest entry for each value; of those that are not zero the nearest that is not."""
    entries = palette[palette != 0] if len(palette) > 1 else palette
    found = entries[torch.bucketize(values, (entries[1:] + entries[:-1]) / 2)] if len(entries) else values
    return torch.where(values == 0, values, found)


def _palette(values: Values, size: int, generator: np.random.Generator) -> Values:
    """The values that so many clusters of some values have in the middle, rising; repeated where there are fewer.

    Zero is one of them if it is among the values.
    """
    distinct = np.unique(values)
    others = values[values != 0]
    zero = len(others) < values.size
    if len(distinct) <= size:
        return np.pad(distinct, (0, size - len(distinct)), mode="edge")
    centres = _clusters(np.sort(others), size - zero, generator)
    return np.sort(np.append(centres, 0.0)) if zero else centres


def _clusters(values: Values, count: int, generator: np.random.Generator) -> Values:
    """The best of three k-means, (count,), begun at even steps, at even shares of the values, and at values by chance.

    Args:
        values: Rising, more than `count`.
        count: How many clusters.
        generator: For the choice.
    """
    starts = (
        np.linspace(values[0], values[-1], count),
        np.quantile(values, (np.arange(count) + 0.5) / count),
        np.sort(generator.choice(values, count, replace=False)),
    )
    before = np.concatenate([[0.0], np.cumsum(values)])
    found = [_settled(values, start, before) for start in starts]
    return min(found, key=lambda centres: _error(values, centres))


def _settled(values: Values, centres: Values, before: Values) -> Values:
    """Move centres to the means of the values that are nearest to them until they stay.

    Args:
        values: Rising.
        centres: Rising.
        before: Sums of the values before each place.
    """
    for _ in range(ROUNDS):
        ends = np.concatenate([[0], np.searchsorted(values, (centres[1:] + centres[:-1]) / 2), [len(values)]])
        counts = np.diff(ends)
        means = np.where(counts > 0, np.diff(before[ends]) / np.maximum(counts, 1), centres)
        if np.array_equal(means, centres):
            break
        centres = np.sort(means)
    return centres


def _error(values: Values, centres: Values) -> float:
    nearest = centres[np.searchsorted((centres[1:] + centres[:-1]) / 2, values)]
    return float(np.square(values - nearest).sum())
