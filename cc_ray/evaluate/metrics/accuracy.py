"""Accuracy: how often the most probable class is the true one.

Source: Wilson, 1927, "Probable Inference, the Law of Succession, and Statistical Inference" (interval).
"""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.answers.classes import Classes
from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric, on_slices, share_on


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
    correct = measurement.predictions.correct
    return on_slices(measurement, lambda chosen: share_on(correct[chosen]))
