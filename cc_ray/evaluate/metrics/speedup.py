"""Speed-up: how many times faster than the base model."""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.latency import Timing
from cc_ray.evaluate.metrics.base import MetricDefinition, Value, metric


@metric(
    "speedup",
    Timing,
    MetricDefinition(
        label="Speed-up",
        meaning=(
            "The base model's median latency / this model's, timed in the same rounds, with a bootstrap 95 % interval "
            "over rounds; above 1 is faster."
        ),
        direction="higher",
        format="number",
    ),
)
def speedup(timing: Timing) -> Iterable[Value]:
    """Ratio of medians."""
    yield Value.timed(timing.speedup(), timing.device)
