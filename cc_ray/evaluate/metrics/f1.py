"""F1: how many words a text shares with an accepted answer.

Source: Rajpurkar et al., 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text".
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cc_ray.evaluate.answers.texts import Texts
from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, mean_on, metric, on_slices


@metric(
    "f1",
    Measurement,
    MetricDefinition(
        label="F1",
        meaning=(
            "Mean over the instances of the largest F1 of the words that a text shares with an accepted answer, "
            "normalised as for exact match; Student's 95 % interval of a mean."
        ),
        direction="higher",
        format="percent",
        max=1.0,
        primary=True,
    ),
    answers=(Texts,),
    of_answers=True,
)
def f1(measurement: Measurement) -> Iterable[Value]:
    """Mean F1, over all instances and in each slice."""

    def value(chosen: NDArray[np.bool_]) -> Value:
        mean = mean_on(measurement.predictions.f1[chosen])
        if mean.ci_low is None or mean.ci_high is None:
            return mean
        return Value(mean.value, max(0.0, mean.ci_low), min(1.0, mean.ci_high), mean.n)

    return on_slices(measurement, value)
