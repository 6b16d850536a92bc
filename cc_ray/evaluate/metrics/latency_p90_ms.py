"""Latency of one instance that nine of ten passes stay below."""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.latency import Timing
from cc_ray.evaluate.metrics.base import MetricDefinition, Value, metric


@metric(
    "latency_p90_ms",
    Timing,
    MetricDefinition(
        label="Latency p90",
        meaning=(
            "Time that 90 % of one instance's forward passes on one thread or the step's GPU stay below, with a "
            "bootstrap 95 % interval over rounds; absent where there were too few passes."
        ),
        direction="lower",
        format="ms",
        unit="ms",
    ),
)
def latency_p90_ms(timing: Timing) -> Iterable[Value]:
    """90th percentile; none where the passes are too few to bound it."""
    interval = timing.percentile_ms(0.9)
    if interval is not None:
        yield Value.timed(interval, timing.device)
