"""Sums and counts over values of a model beside those of a base, a block at a time, in memory that is used again.

What is done to a value is a handful of passes over a block that lies in the processor's cache. `numpy` takes a scalar
operand of `minimum` value by value but an array many at once, and BLAS starts threads for long vectors: hence the
constant arrays and the short runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cc_ray.compare.layers.value_bins import Bins
from cc_ray.store.blocks import BLOCK, Bytes, Floats

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]

NUMBERS: Final[tuple[str, ...]] = (
    "not_finite", "sum_absolute", "sum_square", "sum_absolute_change", "sum_square_change", "base_square",
)  # fmt: skip
"""What is summed, in this order."""

STEPS: Final = 5
"""Bands of relative change up to 1; one more holds what changed more."""

ON_EDGE: Final = 2.0**-44
"""Share by which a relative change may lie below an edge and still count as on it.

A change m - b of single-precision numbers is k / 5 of b, or differs from it by more than 2^-30 of it, but for k = 5 and
an m that is next to nothing beside b. So the band is the one that exact arithmetic finds wherever |m| > 1e-12 |b|.
"""

_NEXT_TO_ZERO: Final = 1e-300
"""Added to the size of the base's values: nothing beside any single-precision number but zero."""
_RUN: Final = 8192
_ONES: Final = np.ones(_RUN)
_EXACT: Final = 2**20
"""Bins up to this far from zero have places that single precision can subtract."""
_PAIRS: Final = 2**16


class Workspace:
    """One thread's memory for blocks of up to `size` values."""

    def __init__(self, size: int) -> None:
        size = min(size, BLOCK)
        self.base, self.pair = np.empty((2, 2, size))
        self.double, self.single = np.empty(size), np.empty(size, np.float32)
        self.bands = np.empty(size, np.uint8)
        self.most = np.full(size, float(STEPS))


@dataclass(frozen=True)
class BaseBlock:
    """A block of the base's values, ready for any number of models."""

    given: Floats
    values: Doubles
    steps: Doubles
    """Bands that a change of 1 makes out; against zeros so many that any change makes out more than there are."""
    absolute: float
    square: float


def base_block(given: Floats, room: Workspace) -> BaseBlock:
    """Prepare a block; good until the next is prepared in the same workspace."""
    values, steps = room.base[:, : len(given)]
    np.copyto(values, given)
    np.abs(values, out=steps)
    absolute, square = float(_total(steps)), float(_dot(values, values))
    np.add(steps, _NEXT_TO_ZERO, out=steps)
    np.divide(STEPS * (1 + ON_EDGE), steps, out=steps)
    return BaseBlock(given, values, steps, absolute, square)


class Cells:
    """The cells, each of a bin and a band, that the values of a piece lie in; they are counted all at once.

    Args:
        bins: Bins of the values.
        size: Values at most.
    """

    def __init__(self, bins: Bins, size: int) -> None:
        self._bins = bins
        self._count = bins.count * (STEPS + 1)
        self._codes = np.empty(size, np.uint8 if self._count <= 2**8 else np.uint16)
        self._filled = 0

    def add(self, values: Floats, bands: Bytes, room: Workspace) -> None:
        """Add values that are finite, with the bands that they lie in."""
        codes = self._codes[self._filled : self._filled + len(values)]
        self._filled += len(values)
        places = self._places(values, room)
        np.copyto(codes, places, casting="unsafe")
        np.multiply(codes, codes.dtype.type(STEPS + 1), out=codes)
        np.add(codes, bands, out=codes)

    def _places(self, values: Floats, room: Workspace) -> NDArray[Any]:
        """Place of each value's bin among the bins, exact: a width is a power of two."""
        bins = self._bins
        narrow = -126 <= bins.exponent <= 0 and max(abs(bins.first), abs(bins.last)) <= _EXACT
        places: NDArray[Any] = (room.single if narrow else room.double)[: len(values)]
        number = places.dtype.type
        np.multiply(values, number(math.ldexp(1.0, -bins.exponent)), out=places, dtype=places.dtype)
        np.floor(places, out=places)
        np.subtract(places, number(bins.first), out=places)
        return np.clip(places, number(0), number(bins.count - 1), out=places)

    def counted(self) -> Counts:
        """Values by bin and band, (bins, bands)."""
        codes = self._codes[: self._filled]
        if codes.dtype == np.uint8 and len(codes) > 2 * _PAIRS:
            # Two neighbours are counted as one number of 16 bits: half as many steps.
            even = len(codes) // 2 * 2
            pairs = np.bincount(codes[:even].view(np.uint16), minlength=_PAIRS).reshape(2**8, 2**8)
            found = (pairs.sum(axis=0) + pairs.sum(axis=1))[: self._count]
            found[codes[even:]] += 1
        else:
            found = np.bincount(codes, minlength=self._count)
        by_cell: Counts = found.reshape(-1, STEPS + 1)
        return by_cell


def add_block(own: Floats, base: BaseBlock, room: Workspace, sums: Doubles, cells: Sequence[Cells]) -> None:
    """Add a block of a model's values to the `NUMBERS` and to cells; the base's own block is known by identity."""
    bands = room.bands[: len(own)]
    numbers = _unchanged(base, bands) if own is base.given else _changed(own, base, room, bands, bool(cells))
    if not np.isfinite(numbers).all():
        finite = np.isfinite(own) & np.isfinite(base.given)
        sums[0] += np.count_nonzero(~finite)
        apart = Workspace(len(own))
        add_block(own[finite], base_block(base.given[finite], apart), apart, sums, cells)
        return
    sums += numbers
    for one in cells:
        one.add(own, bands, room)


def _unchanged(base: BaseBlock, bands: Bytes) -> tuple[float, ...]:
    bands.fill(0)
    return (0.0, base.absolute, base.square, 0.0, 0.0, base.square)


def _changed(own: Floats, base: BaseBlock, room: Workspace, bands: Bytes, banded: bool) -> tuple[float, ...]:
    """The `NUMBERS` of values against a base's, and, if wanted, the bands of their changes."""
    pair = room.pair[:, : len(own)]
    values, change = pair
    np.copyto(values, own)
    np.subtract(values, base.values, out=change)
    np.abs(pair, out=pair)
    absolutes, squares = _total(pair).tolist(), _dot(pair, pair).tolist()
    if banded:
        np.multiply(change, base.steps, out=change)
        np.minimum(change, room.most[: len(own)], out=change)
        np.copyto(bands, change, casting="unsafe")
    return (0.0, absolutes[0], squares[0], absolutes[1], squares[1], base.square)


def _dot(left: Doubles, right: Doubles) -> Doubles:
    """Sums of products along the last axis, of both or of the first with `_ONES`."""
    whole = left.shape[-1] // _RUN * _RUN
    runs = [side[..., :whole].reshape(*side.shape[:-1], -1, _RUN) for side in (left, right)]
    found: Doubles = np.vecdot(left[..., whole:], right[..., whole:]) + np.vecdot(*runs).sum(axis=-1)
    return found


def _total(values: Doubles) -> Doubles:
    """Sums along the last axis."""
    whole = values.shape[-1] // _RUN * _RUN
    runs = values[..., :whole].reshape(*values.shape[:-1], -1, _RUN)
    found: Doubles = np.vecdot(runs, _ONES).sum(axis=-1) + values[..., whole:].sum(axis=-1)
    return found
