"""Sparsity: the share of weights that are zero."""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric


@metric(
    "sparsity",
    Measurement,
    MetricDefinition(
        label="Sparsity",
        meaning=(
            "Share of exact zeros among the model's weights: parameters of two or more axes. Biases and norms do not "
            "count; channels that were cut out are gone, not zero."
        ),
        direction="none",
        format="percent",
        max=1.0,
        primary=True,
    ),
)
def sparsity(measurement: Measurement) -> Iterable[Value]:
    """Share of zeros; a model without weights has none."""
    weights = [layer for layer in measurement.layers if layer.is_weight]
    if weights:
        yield Value(sum(layer.zeros for layer in weights) / sum(layer.parameters for layer in weights))
