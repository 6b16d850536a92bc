"""Which points no other one beats: the arithmetic of fronts, over arrays in which smaller is better.

Everything rests on one question: is a point covered, that is, is another one no larger in any column? Only the minimal
points of a set can decide it, and they are found in one pass over the sorted points, so that tens of thousands of
models cost milliseconds and not their square.

Source of the passes: Kung, Luccio, Preparata, 1975, "On Finding the Maxima of a Set of Vectors".
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_BLOCK: Final = 256
"""Points that are compared with all others at once, where there are more than three columns."""
_STRONG: Final = 32
"""Points that are tried first: most others are covered by one of them."""


class Staircase:
    """Points in the plane of which none covers another, in order of the first coordinate."""

    def __init__(self) -> None:
        self.xs: list[float] = []
        self.ys: list[float] = []

    def covers(self, x: float, y: float) -> bool:
        """Whether one of the points is no larger in either coordinate."""
        before = bisect_right(self.xs, x)
        return before > 0 and self.ys[before - 1] <= y

    def add(self, x: float, y: float) -> None:
        """Add a point that is not covered; those that it covers go."""
        start = end = bisect_left(self.xs, x)
        while end < len(self.ys) and self.ys[end] >= y:
            end += 1
        self.xs[start:end] = [x]
        self.ys[start:end] = [y]

    def gain(self, x: float, y: float, corner: tuple[float, float]) -> float:
        """Area below a corner that a point covers and no other one does."""
        start = bisect_left(self.xs, x)
        level, left, area = self.ys[start - 1] if start else corner[1], x, 0.0
        for right, below in zip([*self.xs[start:], corner[0]], [*self.ys[start:], y], strict=True):
            area += (right - left) * max(0.0, level - y)
            level, left = below, right
            if level <= y:
                break
        return area


def not_dominated(values: Floats) -> Flags:
    """Whether no other row is at least as small in every column and smaller in one.

    Args:
        values: (models, objectives), without NaN.
    """
    found = ~_beaten_by_strong(values)
    once, number = _once(values[found])
    found[found] = _minimal_places(once)[number]
    return found


def not_dominated_beyond_noise(low: Floats, high: Floats) -> Flags:
    """The rows of a front on which what is better by less than the intervals counts as equal.

    A dominates B where it is better beyond the intervals on one objective, and worse beyond them on none. Such
    dominance is not handed on: of three models in a row each can be as good as the next within the noise, and the ends
    far apart. So a row is off the front only where one *on* it dominates it: in rounds, the rows that none of the rest
    dominates are taken, and what these dominate goes. Rows that only dominate each other, in a circle, all stay.

    Args:
        low: Better ends, (models, objectives), without NaN.
        high: Worse ends; equal to `low` where a value has no interval, which makes this `not_dominated`.

    Source: von Neumann, Morgenstern, 1944, "Theory of Games and Economic Behavior" (stable sets).
    """
    kept, left = np.zeros(len(low), bool), np.arange(len(low))
    while len(left):
        free = ~_separated(low[left], high[left], low[left], high[left])
        taken = left[free] if free.any() else left
        kept[taken] = True
        left = left[~free] if free.any() else left[:0]
        left = left[~_separated(low[left], high[left], low[taken], high[taken])]
    return kept


def covered(points: Floats, by: Floats) -> Flags:
    """Whether some row of `by` is no larger than the point in any column.

    Args:
        points: (points, columns).
        by: (others, columns).
    """
    least = minimal(by)
    if not len(least) or not len(points):
        return np.zeros(len(points), bool)
    if points.shape[1] == 1:
        return np.asarray(points[:, 0] >= least[0, 0], bool)
    if points.shape[1] == 2:
        # Sorted by the first column, the minimal points fall in the second.
        before = np.searchsorted(least[:, 0], points[:, 0], side="right")
        return np.asarray((before > 0) & (least[np.maximum(before, 1) - 1, 1] <= points[:, 1]), bool)
    found = np.asarray(_below(_strongest(least), points).any(axis=0), bool)
    sweep = _covered_in_space if points.shape[1] == 3 else _covered_in_blocks
    found[~found] = sweep(points[~found], least)
    return found


def minimal(points: Floats) -> Floats:
    """The rows that no other one covers, each once, sorted by the first column, then the next."""
    once = _once(points[~_beaten_by_strong(points)])[0]
    return once[_minimal_places(once)]


def _beaten_by_strong(points: Floats) -> Flags:
    """Which rows one of the strongest dominates: most of them, so that few are left for the pass."""
    strong = _strongest(points)
    # Equal rows cover each other and must both stay.
    return np.asarray((_below(strong, points) & ~_below(points, strong).T).any(axis=0), bool)


def _strongest(points: Floats) -> Floats:
    """A few rows that cover many others: those in which the ranks of all columns together are the smallest."""
    if len(points) <= _STRONG:
        return points
    ranks = np.argsort(np.argsort(points, axis=0), axis=0).sum(axis=1)
    return points[np.argpartition(ranks, _STRONG)[:_STRONG]]


def _separated(low: Floats, high: Floats, by_low: Floats, by_high: Floats) -> Flags:
    """Whether another row is better beyond the intervals on one objective, and worse beyond them on none."""
    found = np.zeros(len(low), bool)
    for place in range(low.shape[1]):
        # The other's worse end must lie strictly below this better end here; elsewhere its better end not above.
        ends, bounds = by_low.copy(), high[~found]
        ends[:, place] = by_high[:, place]
        bounds[:, place] = np.nextafter(low[~found, place], -np.inf)
        found[~found] = covered(bounds, ends)
    return found


def _once(points: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """The different rows, sorted by the first column, then the next; and the number of each row among them."""
    order = np.lexsort(points.T[::-1])
    ordered = points[order]
    first = np.ones(len(points), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    number = np.empty(len(points), np.int64)
    number[order] = np.cumsum(first) - 1
    return ordered[first], number


def _minimal_places(once: Floats) -> Flags:
    """Which of different, sorted rows no other one covers: only earlier rows could."""
    if once.shape[1] == 1:
        return np.asarray(np.arange(len(once)) == 0, bool)
    if once.shape[1] == 2:
        lowest = np.minimum.accumulate(once[:, 1])
        return np.concatenate([np.ones(len(once[:1]), bool), once[1:, 1] < lowest[:-1]])
    return _minimal_in_space(once) if once.shape[1] == 3 else _minimal_in_blocks(once)


def _minimal_in_space(once: Floats) -> Flags:
    stairs, kept = Staircase(), np.zeros(len(once), bool)
    for place, (_, x, y) in enumerate(once.tolist()):
        if not stairs.covers(x, y):
            stairs.add(x, y)
            kept[place] = True
    return kept


def _minimal_in_blocks(once: Floats) -> Flags:
    kept = np.zeros(len(once), bool)
    for start in range(0, len(once), _BLOCK):
        block = once[start : start + _BLOCK]
        # A row covers itself; a second one that does so beats it.
        free = (_below(block, block).sum(axis=0) == 1) & ~_below(once[:start][kept[:start]], block).any(axis=0)
        kept[start : start + _BLOCK] = free
    return kept


def _covered_in_space(points: Floats, least: Floats) -> Flags:
    stairs, found = Staircase(), np.zeros(len(points), bool)
    others, next_other = least.tolist(), 0
    order = np.argsort(points[:, 0])
    for place, (first, x, y) in zip(order.tolist(), points[order].tolist(), strict=True):
        while next_other < len(others) and others[next_other][0] <= first:
            _, *end = others[next_other]
            next_other += 1
            if not stairs.covers(*end):
                stairs.add(*end)
        found[place] = stairs.covers(x, y)
    return found


def _covered_in_blocks(points: Floats, least: Floats) -> Flags:
    found = np.zeros(len(points), bool)
    for start in range(0, len(points), _BLOCK):
        found[start : start + _BLOCK] = _below(least, points[start : start + _BLOCK]).any(axis=0)
    return found


def _below(rows: Floats, points: Floats) -> Flags:
    """Whether a row is no larger than a point in any column: (rows, points)."""
    found = np.ones((len(rows), len(points)), bool)
    for column in range(points.shape[1]):
        found &= rows[:, None, column] <= points[None, :, column]
    return found
