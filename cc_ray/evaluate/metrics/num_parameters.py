"""Parameters: how many values were trained."""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric


@metric(
    "num_parameters",
    Measurement,
    MetricDefinition(
        label="Parameters",
        meaning="Number of parameters (weights, biases, norms), zeros included; tied ones count once.",
        direction="lower",
        format="count",
    ),
)
def num_parameters(measurement: Measurement) -> Iterable[Value]:
    """Number of parameters; an exported program has none that could be counted."""
    if measurement.parameters:
        yield Value(float(measurement.parameters))
