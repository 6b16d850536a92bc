"""Loss: cross entropy of the predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric, on_slices


@metric(
    "loss",
    Measurement,
    MetricDefinition(
        label="Loss",
        meaning="Mean of -ln of the true class's probability, in nats, with Student's 95 % interval of a mean.",
        direction="lower",
        format="number",
        unit="nats",
    ),
    of_answers=True,
)
def loss(measurement: Measurement) -> Iterable[Value]:
    """Mean cross entropy, over all instances and in each slice."""

    def value(chosen: NDArray[np.bool_]) -> Value:
        losses = measurement.predictions.losses[chosen]
        mean = float(losses.mean())
        if losses.size < 2:
            return Value(mean, n=losses.size)
        reach = float(t.ppf(0.975, losses.size - 1) * losses.std(ddof=1) / math.sqrt(losses.size))
        return Value(mean, float(np.maximum(0.0, mean - reach)), mean + reach, losses.size)

    return on_slices(measurement, value)
