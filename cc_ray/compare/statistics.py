"""Intervals and tests, over arrays."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

LEVEL: Final = 0.95
"""Confidence of every interval."""
EXACT_BELOW: Final = 25
"""Fewer discordant instances than this, and McNemar's test is exact."""
RESAMPLES: Final = 2_000


def wilson(successes: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """Ends of the Wilson score interval of a share, in [0, 1].

    Source: Wilson, 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    count, total = np.asarray(successes, float), np.asarray(n, float)
    z = float(special.ndtri((1 + LEVEL) / 2))
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
    exact = np.minimum(1, 2 * special.bdtr(np.minimum(lost, gained), total.astype(int), 0.5))
    statistic = (lost - gained) ** 2 / np.maximum(total, 1)
    p: Floats = np.where(total < EXACT_BELOW, exact, special.chdtrc(1, statistic))
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


def paired_bootstrap(b: ArrayLike, c: ArrayLike, n: ArrayLike, *, seed: int = 0) -> tuple[Floats, Floats]:
    """Ends of the percentile interval of the accuracy difference model - base, resampling instances in pairs.

    An instance adds -1, 0 or 1 to the difference, so a resample of n instances is one multinomial draw.

    Args:
        b: Number of instances that only the base gets right.
        c: Number of instances that only the model gets right.
        n: Number of instances, at least 1.
        seed: The same seed gives the same ends.

    Source: Efron, Tibshirani, 1993, "An Introduction to the Bootstrap".
    """
    lost, gained, total = (np.atleast_1d(np.asarray(values)).astype(np.int64) for values in (b, c, n))
    shares = np.stack([lost, gained, total - lost - gained], axis=1) / total[:, None]
    draws = np.random.default_rng(seed).multinomial(total, shares, size=(RESAMPLES, len(total)))
    differences = (draws[..., 1] - draws[..., 0]) / total
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high
