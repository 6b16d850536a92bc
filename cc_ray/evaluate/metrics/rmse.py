"""Root mean squared error: as the mean absolute error, but large errors count for more."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cc_ray.evaluate.answers.numbers import Numbers
from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, mean_on, metric, on_slices


@metric(
    "rmse",
    Measurement,
    MetricDefinition(
        label="Root mean squared error",
        meaning=(
            "Root of the mean of (predicted - true)^2, in the unit of what is predicted; the 95 % interval is the root "
            "of Student's of the mean."
        ),
        direction="lower",
        format="number",
    ),
    answers=(Numbers,),
    of_answers=True,
)
def rmse(measurement: Measurement) -> Iterable[Value]:
    """Root mean squared error, over all instances and in each slice."""

    def value(chosen: NDArray[np.bool_]) -> Value:
        mean = mean_on(measurement.predictions.errors[chosen] ** 2)
        low, high = (None if end is None else math.sqrt(max(0.0, end)) for end in (mean.ci_low, mean.ci_high))
        return Value(math.sqrt(mean.value), low, high, mean.n)

    return on_slices(measurement, value)
