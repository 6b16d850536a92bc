"""R^2: which share of the variance of the true numbers the predicted ones explain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cc_ray.evaluate.answers.numbers import Numbers
from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric, on_slices


@metric(
    "r2",
    Measurement,
    MetricDefinition(
        label="R²",
        meaning=(
            "Share of the variance of the true numbers that is explained: 1 - sum of (predicted - true)^2 / sum of "
            "(true - mean)^2, below 0 where the mean does better; none where the true numbers are all equal."
        ),
        direction="higher",
        format="percent",
        min=None,
        max=1.0,
        primary=True,
    ),
    answers=(Numbers,),
    of_answers=True,
)
def r2(measurement: Measurement) -> Iterable[Value]:
    """R^2, over all instances and in each slice."""
    targets, errors = measurement.predictions.targets, measurement.predictions.errors

    def value(chosen: NDArray[np.bool_]) -> Value:
        around = targets[chosen] - targets[chosen].mean()
        return Value(float(1 - (errors[chosen] ** 2).sum() / (around**2).sum()), n=int(chosen.sum()))

    varied = {name: chosen for name, chosen in measurement.slices.items() if len(np.unique(targets[chosen])) > 1}
    return on_slices(replace(measurement, slices=varied), value)
