"""Throughput: how many instances a second, when they come in batches."""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.latency import BatchTiming
from cc_ray.evaluate.metrics.base import MetricDefinition, Value, metric


@metric(
    "throughput_per_s",
    BatchTiming,
    MetricDefinition(
        label="Throughput",
        meaning=(
            "Instances that one thread or the step's GPU answers in a second, in batches of 64 or of the whole "
            "evaluation split where it is smaller: batch size / median time, with a bootstrap 95 % interval over "
            "rounds."
        ),
        direction="higher",
        format="count",
        unit="instances/s",
    ),
)
def throughput_per_s(timing: BatchTiming) -> Iterable[Value]:
    """Instances a second."""
    yield Value.timed(timing.throughput_per_s(), timing.device)
