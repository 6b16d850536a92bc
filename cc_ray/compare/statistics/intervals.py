"""Intervals and tests, over arrays."""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEVEL: Final = 0.95
"""Confidence of every interval."""
EXACT_BELOW: Final = 25
"""Fewer discordant instances than this, and McNemar's test is exact."""
_TAIL_SDS: Final = 8.0
_TAIL_COUNTS: Final = 16.0
"""How far, in standard deviations and beyond in instances, a resample's difference is followed."""


def wilson(successes: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """Ends of the Wilson score interval of a share, in [0, 1].

    Source: Wilson, 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    count, total = np.asarray(successes, float), np.asarray(n, float)
    z = float(scipy.special.ndtri((1 + LEVEL) / 2))
    centre = (count + z**2 / 2) / (total + z**2)
    half = z / (total + z**2) * np.sqrt(count * (total - count) / total + z**2 / 4)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def mcnemar(b: ArrayLike, c: ArrayLike) -> Floats:
    """P-value that a base and a model are right equally often.

    Exact where few instances are discordant, else the chi-square statistic (b - c)^2 / (b + c); 1 where none is.

    Args:
        b: Number of instances that only the base gets right.
        c: Number of instances that only the model gets right.

    Source: McNemar, 1947, "Note on the sampling error of the difference between correlated proportions or percentages".
    """
    lost, gained = np.asarray(b, float), np.asarray(c, float)
    total = lost + gained
    exact = np.minimum(1, 2 * scipy.special.bdtr(np.minimum(lost, gained), total.astype(int), 0.5))
    statistic = (lost - gained) ** 2 / np.maximum(total, 1)
    p: Floats = np.where(total < EXACT_BELOW, exact, scipy.special.chdtrc(1, statistic))
    return p


def holm(p: ArrayLike) -> Floats:
    """P-values corrected for having asked all of these questions.

    Source: Holm, 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    values = np.asarray(p, float)
    order = np.argsort(values)
    raised = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(raised))
    return corrected


def paired_bootstrap(b: ArrayLike, c: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """Ends of the percentile interval of the accuracy difference model - base, resampling instances in pairs.

    An instance adds -1, 0 or 1 to the difference, so a resample's difference is a sum of n independent draws, and its
    distribution is known: what more and more resamples tend to is computed instead of drawn. A row's ends depend on its
    own counts alone.

    Like every percentile interval it is too narrow where fewer than about five instances are discordant, and without
    width where none is: `mcnemar`, which is exact there, has the last word.

    Args:
        b: Number of instances that only the base gets right.
        c: Number of instances that only the model gets right.
        n: Number of instances, at least 1.

    Source: Efron, Tibshirani, 1993, "An Introduction to the Bootstrap" (the ideal bootstrap, chapter 6); the
    distribution from its characteristic function by a fast Fourier transform.
    """
    lost, gained, total = (np.atleast_1d(np.asarray(values, float)) for values in (b, c, n))
    lost, gained, total = np.broadcast_arrays(lost, gained, total)
    spread = np.sqrt(lost + gained)
    # A power of two that leaves nothing worth counting outside.
    lengths = 2 ** np.ceil(np.log2(2 * (_TAIL_SDS * spread + _TAIL_COUNTS))).astype(np.int64)
    low, high = np.empty(len(total)), np.empty(len(total))
    for length in np.unique(lengths).tolist():
        rows = lengths == length
        low[rows], high[rows] = _percentiles(lost[rows], gained[rows], total[rows], length)
    return low, high


def _percentiles(lost: Floats, gained: Floats, total: Floats, length: int) -> tuple[Floats, Floats]:
    """Ends over differences within `length / 2` instances of the measured one."""
    angles = 2 * np.pi * np.arange(length // 2 + 1) / length
    down, up = (lost / total)[:, None], (gained / total)[:, None]
    one = 1 - down - up + (down + up) * np.cos(angles) + 1j * (up - down) * np.sin(angles)
    # Shifted so that the measured difference stands in the middle.
    shift = np.exp(-1j * angles * ((gained - lost)[:, None] - length // 2))
    chances = np.fft.irfft(np.conj(one ** total[:, None] * shift), length, axis=1)
    below = np.cumsum(chances, axis=1)
    middle = gained - lost - length // 2
    low, high = (middle + (below < share).sum(axis=1) for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return low / total, high / total
