"""Loss: cross entropy of the answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cc_ray.evaluate.answers.classes import Classes
from cc_ray.evaluate.answers.tokens import Tokens
from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, mean_on, metric, on_slices
from cc_ray.evaluate.metrics.perplexity import loss_per_token


@metric(
    "loss",
    Measurement,
    MetricDefinition(
        label="Loss",
        meaning=(
            "Mean of -ln of the true class's probability, in nats, with Student's 95 % interval of a mean; of text the "
            "mean over all scored tokens, with an interval that takes those of one instance together."
        ),
        direction="lower",
        format="number",
        unit="nats",
    ),
    answers=(Classes, Tokens),
    of_answers=True,
)
def loss(measurement: Measurement) -> Iterable[Value]:
    """Mean cross entropy, over all instances and in each slice."""

    def value(chosen: NDArray[np.bool_]) -> Value:
        answers = measurement.predictions
        if isinstance(answers, Tokens):
            return loss_per_token(answers.losses[chosen], answers.tokens[chosen])
        mean = mean_on(answers.losses[chosen])
        return mean if mean.ci_low is None else replace(mean, ci_low=float(np.maximum(0.0, mean.ci_low)))

    return on_slices(measurement, value)
