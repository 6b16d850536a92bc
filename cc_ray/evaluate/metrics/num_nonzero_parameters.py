"""Non-zero parameters: how many values are not exactly zero."""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric


@metric(
    "num_nonzero_parameters",
    Measurement,
    MetricDefinition(
        label="Non-zero parameters",
        meaning="Number of parameters (weights, biases, norms) that are not exactly zero; tied ones count once.",
        direction="lower",
        format="count",
    ),
)
def num_nonzero_parameters(measurement: Measurement) -> Iterable[Value]:
    """Number of parameters that are not zero; of an exported program it is not known."""
    if measurement.parameters:
        yield Value(float(sum(layer.parameters - layer.zeros for layer in measurement.layers)))
