"""F1: how many words a text shares with an accepted answer.

Source: Rajpurkar et al., 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text".
"""

from __future__ import annotations

from collections.abc import Iterable

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
    found = measurement.predictions.f1
    return on_slices(measurement, lambda chosen: mean_on(found[chosen], 0.0, 1.0))
