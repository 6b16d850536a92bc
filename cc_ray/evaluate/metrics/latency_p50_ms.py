"""Median latency of one instance."""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.latency import Timing
from cc_ray.evaluate.metrics.base import MetricDefinition, Value, metric


@metric(
    "latency_p50_ms",
    Timing,
    MetricDefinition(
        label="Latency p50",
        meaning=(
            "Median time of one instance's forward pass on one thread or the step's GPU, with a bootstrap 95 % "
            "interval over rounds."
        ),
        direction="lower",
        format="ms",
        unit="ms",
        primary=True,
    ),
)
def latency_p50_ms(timing: Timing) -> Iterable[Value]:
    """Median time; none where the passes are too few to bound it."""
    interval = timing.percentile_ms(0.5)
    if interval is not None:
        yield Value.timed(interval, timing.device)
