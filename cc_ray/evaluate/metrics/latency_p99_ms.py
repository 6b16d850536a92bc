"""Latency of one instance that 99 of a hundred passes stay below."""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.latency import Timing
from cc_ray.evaluate.metrics.base import MetricDefinition, Value, metric


@metric(
    "latency_p99_ms",
    Timing,
    MetricDefinition(
        label="Latency p99",
        meaning=(
            "Time that 99 % of one instance's forward passes on one thread or the step's GPU stay below, with a "
            "bootstrap 95 % interval over rounds; absent where there were too few passes."
        ),
        direction="lower",
        format="ms",
        unit="ms",
    ),
)
def latency_p99_ms(timing: Timing) -> Iterable[Value]:
    """99th percentile; none where the passes are too few to bound it."""
    interval = timing.percentile_ms(0.99)
    if interval is not None:
        yield Value.timed(interval, timing.device)
