"""Sums and counts over values of a model beside those of a base, in compiled loops."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cc_ray.compare.layers.value_bins import Bins
from cc_ray.compiled import compiled
from cc_ray.store.blocks import Bytes, Floats

Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]
Tables = NDArray[np.uint32]

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
_NEITHER: Final = STEPS + 1
"""Stands for the band of values that are not finite; they are in no bin either."""
_RUN: Final = 1024
"""Values whose cells are found together before they are counted."""


@compiled
def add_changes(own: Floats, base: Floats, sums: Doubles, bands: Bytes) -> None:
    """Add values and their changes to the `NUMBERS`, in double precision, and tell the bands that the changes lie in.

    Args:
        own: Values of the model, (n,).
        base: Those of the base, (n,).
        sums: The `NUMBERS`; added to.
        bands: Band of each, (n,); written to.
    """
    lost = 0
    absolute = square = change_absolute = change_square = base_square = 0.0
    for place in range(own.size):
        m, b = np.float64(own[place]), np.float64(base[place])
        finite = (m - m == 0) & (b - b == 0)
        m, b = m if finite else np.float64(0), b if finite else np.float64(0)
        change = abs(m - b)
        lost += not finite
        absolute += abs(m)
        square += m * m
        change_absolute += change
        change_square += change * change
        base_square += b * b
        step = min(change * (STEPS * (1 + ON_EDGE)) / (abs(b) + _NEXT_TO_ZERO), float(STEPS))
        bands[place] = np.int32(step) if finite else _NEITHER
    sums[0] += lost
    sums[1] += absolute
    sums[2] += square
    sums[3] += change_absolute
    sums[4] += change_square
    sums[5] += base_square


class Cells:
    """Counts of values by bin and band.

    Args:
        bins: Bins of the values.
    """

    def __init__(self, bins: Bins) -> None:
        self._bins = bins
        # Four tables take turns: an addition does not wait for the one before it to the same cell.
        self._tables = np.zeros((4, bins.count * (STEPS + 2)), np.uint32)

    def add(self, values: Floats, bands: Bytes) -> None:
        """Add values with the bands that they lie in, fewer than 2^32 in all."""
        bins = self._bins
        _count(values, bands, math.ldexp(1.0, -bins.exponent), float(bins.first), float(bins.last), self._tables)

    def counted(self) -> Counts:
        """Values by bin and band, (bins, bands)."""
        found: Counts = self._tables.sum(axis=0, dtype=np.int64).reshape(-1, STEPS + 2)[:, :_NEITHER]
        return found


@compiled
def _count(values: Floats, bands: Bytes, per_unit: float, first: float, last: float, tables: Tables) -> None:
    """Count values by cell; places of bins are exact, as a width is a power of two.

    Args:
        values: Values, (n,).
        bands: Their bands, (n,).
        per_unit: Bins in 1.
        first: Place of the first bin, counted from 0 in widths.
        last: Place of the last one.
        tables: Counts that belong together, (4, bins * (bands + 1)); added to.
    """
    cells = np.empty(_RUN, np.uint32)
    for start in range(0, values.size, _RUN):
        some, theirs = values[start : start + _RUN], bands[start : start + _RUN]
        size = some.size
        for at in range(size):
            value = np.float64(some[at]) if theirs[at] < _NEITHER else 0.0
            place = min(max(np.floor(value * per_unit), first), last) - first
            cells[at] = np.uint32(np.int32(place)) * np.uint32(STEPS + 2) + np.uint32(theirs[at])
        for at in range(0, size - 3, 4):
            tables[0, cells[at]] += 1
            tables[1, cells[at + 1]] += 1
            tables[2, cells[at + 2]] += 1
            tables[3, cells[at + 3]] += 1
        for at in range(size // 4 * 4, size):
            tables[0, cells[at]] += 1
