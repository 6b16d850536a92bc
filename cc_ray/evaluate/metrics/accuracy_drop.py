"""Accuracy drop: how much less often than its base model a model is right, over the same instances.

Source: Agresti, Min, 2005, "Simple improved confidence intervals for comparing matched proportions" (half an instance
is added to each of the four ways in which two models can be right or wrong).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cc_ray.evaluate.answers.classes import Classes
from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric, on_slices

_NORMAL_95: Final = 1.959963984540054


@metric(
    "accuracy_drop",
    Measurement,
    MetricDefinition(
        label="Accuracy drop",
        meaning="The base model's accuracy less the model's, over the same instances; Agresti and Min's 95 % interval.",
        direction="lower",
        format="percent",
        min=-1.0,
        max=1.0,
    ),
    answers=(Classes,),
)
def accuracy_drop(measurement: Measurement) -> Iterable[Value]:
    """Share of instances lost less share gained, over all instances and in each slice."""
    own = measurement.predictions.correct
    base = own if measurement.base_correct is None else measurement.base_correct

    def value(chosen: NDArray[np.bool_]) -> Value:
        lost, gained = int((base & ~own)[chosen].sum()), int((own & ~base)[chosen].sum())
        count = int(chosen.sum())
        return Value((lost - gained) / count, *_interval(lost, gained, count), count)

    return on_slices(measurement, value)


def _interval(lost: int, gained: int, count: int) -> tuple[float, float]:
    lost_, gained_, count_ = lost + 0.5, gained + 0.5, count + 2
    centre = (lost_ - gained_) / count_
    reach = _NORMAL_95 * math.sqrt((lost_ + gained_) / count_ - centre**2) / math.sqrt(count_)
    return max(-1.0, centre - reach), min(1.0, centre + reach)
