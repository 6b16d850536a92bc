"""Mean absolute error: how far predicted numbers lie from the true ones."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cc_ray.evaluate.answers.numbers import Numbers
from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, mean_on, metric, on_slices


@metric(
    "mae",
    Measurement,
    MetricDefinition(
        label="Mean absolute error",
        meaning=(
            "Mean of |predicted - true|, in the unit of what is predicted, with Student's 95 % interval of a mean."
        ),
        direction="lower",
        format="number",
        primary=True,
    ),
    answers=(Numbers,),
    of_answers=True,
)
def mae(measurement: Measurement) -> Iterable[Value]:
    """Mean absolute error, over all instances and in each slice."""
    errors = np.abs(measurement.predictions.errors)
    return on_slices(measurement, lambda chosen: mean_on(errors[chosen], low=0.0))
