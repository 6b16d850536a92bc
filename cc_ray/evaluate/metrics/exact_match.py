"""Exact match: how often a text equals an accepted answer.

Source: Rajpurkar et al., 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text"; Wilson, 1927, "Probable
Inference, the Law of Succession, and Statistical Inference" (interval).
"""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.answers.texts import Texts
from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric, on_slices, share_on


@metric(
    "exact_match",
    Measurement,
    MetricDefinition(
        label="Exact match",
        meaning=(
            "Share of texts that equal an accepted answer, both without case, punctuation and English articles; "
            "Wilson's 95 % interval."
        ),
        direction="higher",
        format="percent",
        max=1.0,
        primary=True,
    ),
    answers=(Texts,),
    of_answers=True,
)
def exact_match(measurement: Measurement) -> Iterable[Value]:
    """Share of right texts, over all instances and in each slice."""
    correct = measurement.predictions.correct
    return on_slices(measurement, lambda chosen: share_on(correct[chosen]))
