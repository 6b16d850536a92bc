"""From a metric's values to colours and sizes, and to the legend that says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dashboards.theme import INK_3, MISSING, SEQUENTIAL

Values = NDArray[np.float64]

FENCE: Final = 1.5
"""Values farther than this many interquartile ranges from the quartiles take the end's colour (Tukey's fences)."""
FEW: Final = 0.2
"""If more than this share of the values lies beyond a fence, they are no outliers, and it does not hold."""


@dataclass(frozen=True)
class ColourScale:
    """Linear from pale (low) to dark (high) over the values without their outliers."""

    low: float
    high: float
    below: bool
    """Whether some values lie below `low` and share its colour."""
    above: bool

    def __call__(self, values: Values) -> list[str]:
        """A colour per value; grey where there is none."""
        share = (values - self.low) / ((self.high - self.low) or 1.0)
        index = np.nan_to_num(np.clip(share, 0, 1) * (len(SEQUENTIAL) - 1), nan=-1).astype(int)
        return [SEQUENTIAL[place] if place >= 0 else MISSING for place in index]


def colour_scale(values: Values) -> ColourScale:
    """Fit a scale to the values that are not NaN."""
    known = values[np.isfinite(values)]
    if not len(known):
        return ColourScale(0.0, 1.0, False, False)
    first, third = np.percentile(known, [25, 75])
    reach = FENCE * (third - first)
    low, high = _end(known, known >= first - reach, reach, np.min), _end(known, known <= third + reach, reach, np.max)
    return ColourScale(low, high, bool(known.min() < low), bool(known.max() > high))


def _end(known: Values, inside: NDArray[np.bool_], reach: float, end: Callable[[Values], np.float64]) -> float:
    """One end of the scale, of the values within its fence where there is one."""
    fenced = reach > 0 and np.mean(~inside) <= FEW
    return float(end(known[inside] if fenced else known))


def sizes(values: Values, smallest: float, largest: float) -> Values:
    """Diameters whose areas grow with the values; the smallest where there is none.

    Args:
        values: One per mark; NaN where there is none.
        smallest: Diameter of the smallest value, in pixels.
        largest: Diameter of the largest value, in pixels.
    """
    known = values[np.isfinite(values)]
    if not len(known) or known.min() == known.max():
        return np.full(len(values), (smallest + largest) / 2)
    share = (values - known.min()) / (known.max() - known.min())
    found: Values = np.nan_to_num(np.sqrt(smallest**2 + share * (largest**2 - smallest**2)), nan=smallest)
    return found


def constant(colour: str, count: int) -> list[str]:
    """The same colour for every mark."""
    return [colour] * count


UNCOLOURED: Final = INK_3
"""Colour of marks where no metric is chosen."""


def column(values: Sequence[float | None]) -> Values:
    """Numbers of a table's column; NaN for null."""
    return np.array([np.nan if value is None else value for value in values], float)
