"""Tests and effect sizes for many models or many subsets at once, over arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import scipy
from numpy.typing import ArrayLike, NDArray

from cc_ray.compare.statistics.intervals import mcnemar, paired_bootstrap, wilson

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

AT_ONCE: Final = 256
"""Intervals that are resampled at once: bounds memory, however many are asked for."""


@dataclass(frozen=True)
class Counts:
    """How many instances a base and a model get right, of any number of subsets."""

    n: Integers
    """Number of instances; 0 is allowed."""
    correct: Integers
    """Number that the model gets right."""
    base_correct: Integers
    """Number that the base gets right."""
    lost: Integers
    """Number that only the base gets right."""
    gained: Integers
    """Number that only the model gets right."""

    def columns(self) -> dict[str, pa.Array]:
        """What follows, one value a subset, null for an empty one.

        n, accuracy, accuracy_low, accuracy_high (Wilson), base_accuracy, difference, difference_low, difference_high
        (paired bootstrap), lost, gained, flips (share), mcnemar_p.
        """
        total = np.maximum(self.n, 1)
        low, high = wilson(self.correct, total)
        difference_low, difference_high = difference_interval(self.lost, self.gained, total)
        shares = {
            "accuracy": self.correct / total,
            "accuracy_low": low,
            "accuracy_high": high,
            "base_accuracy": self.base_correct / total,
            "difference": (self.gained - self.lost) / total,
            "difference_low": difference_low,
            "difference_high": difference_high,
            "flips": (self.lost + self.gained) / total,
            "mcnemar_p": mcnemar(self.lost, self.gained),
        }
        found = {name: pa.array(values, mask=self.n == 0) for name, values in shares.items()}
        return found | {"n": pa.array(self.n), "lost": pa.array(self.lost), "gained": pa.array(self.gained)}


@dataclass(frozen=True)
class CochranQ:
    """Whether several models are right equally often."""

    statistic: float
    """Chi-square distributed with `freedom` degrees of freedom if they are."""
    freedom: int
    p: float


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """P-values corrected so that, of those called significant below a level, at most that share is expected false.

    Source: Benjamini, Hochberg, 1995, "Controlling the False Discovery Rate".
    """
    values = np.asarray(p, float)
    order = np.argsort(values)
    raised = values[order] * len(values) / np.arange(1, len(values) + 1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1, np.minimum.accumulate(raised[::-1])[::-1])
    return corrected


def cohen_h(share: ArrayLike, base_share: ArrayLike) -> Floats:
    """Effect size of a difference between shares: 2 asin(sqrt(share)) - 2 asin(sqrt(base_share)), in [-pi, pi].

    The same difference weighs more near 0 and 1. Usual words: 0.2 small, 0.5 medium, 0.8 large.

    Source: Cohen, 1988, "Statistical Power Analysis for the Behavioral Sciences".
    """
    angle, base_angle = (2 * np.arcsin(np.sqrt(np.asarray(values, float))) for values in (share, base_share))
    effect: Floats = angle - base_angle
    return effect


def cochran_q(correct: ArrayLike) -> CochranQ:
    """Test whether several models are right equally often on the same instances; for two it is McNemar's test.

    Args:
        correct: Whether a model is right on an instance, (models, n), two models or more.

    Source: Cochran, 1950, "The Comparison of Percentages in Matched Samples".
    """
    right = np.asarray(correct, np.float64)
    count, of_model, of_instance = len(right), right.sum(axis=1), right.sum(axis=0)
    spread = (count - 1) * (count * np.sum(of_model**2) - np.sum(of_model) ** 2)
    scale = count * np.sum(of_instance) - np.sum(of_instance**2)
    # Where all agree on every instance there is nothing to test.
    statistic = float(spread / scale) if scale else 0.0
    return CochranQ(statistic, count - 1, float(scipy.special.chdtrc(count - 1, statistic)))


def welch(values: Sequence[float], base_values: Sequence[float]) -> float:
    """P-value that two samples have the same mean, whatever their variances; NaN below two values or without spread.

    Source: Welch, 1947, "The Generalization of 'Student's' Problem when Several Different Population Variances are
    Involved".
    """
    if min(len(values), len(base_values)) < 2:
        return float("nan")
    errors = np.array([np.var(sample, ddof=1) / len(sample) for sample in (values, base_values)])
    if not errors.any():
        return float("nan")
    statistic = (np.mean(values) - np.mean(base_values)) / np.sqrt(errors.sum())
    freedom = errors.sum() ** 2 / np.sum(errors**2 / (np.array([len(values), len(base_values)]) - 1))
    return float(2 * scipy.special.stdtr(freedom, -abs(statistic)))


def difference_interval(lost: ArrayLike, gained: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """Ends of `paired_bootstrap`'s intervals for any number of subsets, in bounded memory.

    Args:
        lost: Number of instances that only the base gets right, one for each subset.
        gained: Number of instances that only the model gets right, one for each subset.
        n: Number of instances, at least 1, one for each subset.
    """
    counts = np.stack([np.asarray(values, np.int64) for values in (lost, gained, n)], axis=1)
    # Equal counts have equal intervals.
    distinct, place = np.unique(counts, axis=0, return_inverse=True)
    parts = [paired_bootstrap(*distinct[at : at + AT_ONCE].T) for at in range(0, len(distinct), AT_ONCE)]
    low, high = np.concatenate([np.stack(part) for part in parts], axis=1) if parts else np.empty((2, 0))
    return low[place], high[place]
