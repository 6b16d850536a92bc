"""Accuracy: how often the most probable class is the true one.

Source: Wilson, 1927, "Probable Inference, the Law of Succession, and Statistical Inference" (interval).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from cc_ray.evaluate.answers.classes import Classes
from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric, on_slices


@metric(
    "accuracy",
    Measurement,
    MetricDefinition(
        label="Accuracy",
        meaning="Share of instances whose most probable class is the true one, with Wilson's 95 % interval.",
        direction="higher",
        format="percent",
        max=1.0,
        primary=True,
    ),
    answers=(Classes,),
    of_answers=True,
)
def accuracy(measurement: Measurement) -> Iterable[Value]:
    """Share of right answers, over all instances and in each slice."""

    def value(chosen: NDArray[np.bool_]) -> Value:
        correct = measurement.predictions.correct[chosen]
        interval = binomtest(int(correct.sum()), correct.size).proportion_ci(method="wilson")
        return Value(float(correct.mean()), float(interval.low), float(interval.high), correct.size)

    return on_slices(measurement, value)
