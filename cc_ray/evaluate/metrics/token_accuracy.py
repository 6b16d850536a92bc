"""Token accuracy: how often the most probable token is the one that stands there."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cc_ray.evaluate.answers.tokens import Tokens
from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric, on_slices
from cc_ray.evaluate.metrics.perplexity import loss_per_token


@metric(
    "token_accuracy",
    Measurement,
    MetricDefinition(
        label="Token accuracy",
        meaning=(
            "Share of the scored tokens that are the most probable at their place; the 95 % interval takes the tokens "
            "of one instance together."
        ),
        direction="higher",
        format="percent",
        max=1.0,
    ),
    answers=(Tokens,),
    of_answers=True,
)
def token_accuracy(measurement: Measurement) -> Iterable[Value]:
    """Share of tokens, over all instances and in each slice."""
    tokens = measurement.predictions.tokens
    shares = measurement.predictions.hits.sum(axis=1) / np.maximum(tokens, 1)

    def value(chosen: NDArray[np.bool_]) -> Value:
        found = loss_per_token(shares[chosen], tokens[chosen])
        return found if found.ci_high is None else Value(found.value, found.ci_low, min(1.0, found.ci_high), found.n)

    return on_slices(measurement, value)
