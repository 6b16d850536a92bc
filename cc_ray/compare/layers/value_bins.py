"""Bins of values whose widths are powers of two: those of a wide module are unions of those of a narrow one.

So every module of a tree is shown in bins of its own range, and the counts of an inner module are exact sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

MOST_BINS: Final = 32
"""Bins over the span of a module's values, but for the two at the ends."""
BEYOND: Final = 0.0005
"""Share of the values that may lie beyond the bins on each side; the bins at the ends count them."""
_FINE: Final = 1024
"""Bins at most that several modules' bins are counted in together."""


@dataclass(frozen=True)
class Bins:
    """Bins of width 2^exponent; bin i reaches from i to i + 1 widths. The outer ones hold what lies beyond, too."""

    exponent: int
    first: int
    last: int

    @property
    def count(self) -> int:
        """Number of bins."""
        return self.last - self.first + 1

    @property
    def edges(self) -> list[float]:
        """Edges of the bins; one more than bins."""
        return [math.ldexp(place, self.exponent) for place in range(self.first, self.last + 2)]

    def finer(self, other: Bins) -> Bins:
        """Bins of the smaller width that cover both."""
        exponent = min(self.exponent, other.exponent)
        first = min(bins.first << (bins.exponent - exponent) for bins in (self, other))
        last = max(((bins.last + 1) << (bins.exponent - exponent)) - 1 for bins in (self, other))
        return Bins(exponent, first, last)

    def gathered(self, counts: Counts, fine: Bins) -> Counts:
        """Counts (bins of `fine`, ...) in these bins, which are unions of them."""
        places = np.clip(np.arange(fine.first, fine.last + 1) >> (self.exponent - fine.exponent), self.first, self.last)
        found: Counts = np.add.reduceat(counts, np.searchsorted(places, range(self.first, self.last + 1)), axis=0)
        return found


def spanning(low: float, high: float) -> Bins:
    """Bins from a low to a high value."""
    span = high - low or abs(high) or 1.0
    # Narrower than this, single precision has no values between two edges.
    exponent = max(math.frexp(span / MOST_BINS)[1], -140)
    return Bins(exponent, *(math.floor(math.ldexp(value, -exponent)) for value in (low, high)))


def central(lows: Floats, highs: Floats, counts: Floats) -> Bins:
    """Bins over all values but `BEYOND` of them on each side.

    Args:
        lows: Lower edges of bins in which values were counted, whatever their widths.
        highs: Their upper edges.
        counts: Values in each.
    """
    there = (counts > 0) & np.isfinite(lows) & np.isfinite(highs)
    if not there.any():
        return spanning(-1.0, 1.0)
    rest = BEYOND * counts[there].sum()
    return spanning(_end(lows[there], counts[there], rest), -_end(-highs[there], counts[there], rest))


def _end(edges: Floats, counts: Floats, rest: float) -> float:
    """The lowest edge with more than `rest` values in the bins that begin there or below."""
    order = np.argsort(edges)
    place = np.searchsorted(np.cumsum(counts[order]), rest, side="right")
    return float(edges[order][min(int(place), len(order) - 1)])


def grouped(bins: Iterable[Bins]) -> list[tuple[Bins, list[Bins]]]:
    """As few sets of bins as all of these can be gathered from, each with those it serves."""
    found: list[tuple[Bins, list[Bins]]] = []
    for one in sorted(set(bins), key=lambda bins: (bins.exponent, bins.first, bins.last)):
        for place, (fine, served) in enumerate(found):
            if (joint := fine.finer(one)).count <= _FINE:
                found[place] = (joint, [*served, one])
                break
        else:
            found.append((one, [one]))
    return found


def stored(rows: Sequence[dict[str, Any]]) -> tuple[Floats, Floats, Floats]:
    """Lower edges, upper edges and counts of the histograms of rows of `layers`; without one, of least and largest."""
    lows, highs, counts = [], [], []
    for row in rows:
        edges, found = row["histogram_edges"], row["histogram"]
        if not found:
            edges, found = [row["min"], row["max"]], [max(row["parameters"], 1)]
        # No value lies beyond the least and the largest.
        lows.append(np.maximum(edges[:-1], min(row["min"], row["max"])))
        highs.append(np.minimum(edges[1:], max(row["min"], row["max"])))
        counts.append(np.array(found, np.float64))
    if not lows:
        return (np.zeros(0),) * 3
    return np.concatenate(lows), np.concatenate(highs), np.concatenate(counts)
