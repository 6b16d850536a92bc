"""Perplexity: how many equally probable tokens a model hesitates between, on average.

Source: Cochran, 1977, "Sampling Techniques" (interval of a ratio of two sums, each over instances).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from cc_ray.evaluate.answers.texts import Texts
from cc_ray.evaluate.answers.tokens import Tokens
from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric, on_slices

LARGEST_LOSS: Final = 700.0
"""In nats; the perplexity of a larger one is no number."""


@metric(
    "perplexity",
    Measurement,
    MetricDefinition(
        label="Perplexity",
        meaning=(
            "exp of the mean of -ln p over all scored tokens; the 95 % interval takes the tokens of one instance "
            "together."
        ),
        direction="lower",
        format="number",
        min=1.0,
        primary=True,
    ),
    answers=(Tokens, Texts),
    of_answers=True,
)
def perplexity(measurement: Measurement) -> Iterable[Value]:
    """Perplexity, over all instances and in each slice; none of a model that scores no tokens."""
    answers = measurement.predictions
    if answers.tokens is None:
        return ()

    def value(chosen: NDArray[np.bool_]) -> Value:
        mean = loss_per_token(answers.losses[chosen], answers.tokens[chosen])
        low, high = (None if end is None else _exp(end) for end in (mean.ci_low, mean.ci_high))
        return Value(_exp(mean.value), low, high, mean.n)

    return on_slices(measurement, value)


def loss_per_token(losses: NDArray[np.float64], tokens: NDArray[np.int64]) -> Value:
    """Mean over tokens with its 95 % interval, in nats.

    Args:
        losses: Mean over the tokens of each instance, (n,).
        tokens: Their number, (n,).
    """
    count = int(tokens.sum())
    mean = float((losses * tokens).sum() / max(count, 1))
    if losses.size < 2:
        return Value(mean, n=losses.size)
    spread = math.sqrt(float((((losses - mean) * tokens) ** 2).sum()) * losses.size / (losses.size - 1)) / max(count, 1)
    reach = float(t.ppf(0.975, losses.size - 1)) * spread
    return Value(mean, float(np.maximum(0.0, mean - reach)), mean + reach, losses.size)


def _exp(loss: float) -> float:
    return math.exp(min(loss, LARGEST_LOSS))
