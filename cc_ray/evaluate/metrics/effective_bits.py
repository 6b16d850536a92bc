"""Effective bits: what a parameter costs on disk."""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric


@metric(
    "effective_bits",
    Measurement,
    MetricDefinition(
        label="Effective bits",
        meaning=(
            "Bits on disk per parameter: 8 x bytes of the parameters' tensors, with their scales and masks, / number "
            "of parameters. Buffers, such as a batch norm's statistics, and the file's header do not count."
        ),
        direction="lower",
        format="bits",
        unit="bits",
    ),
)
def effective_bits(measurement: Measurement) -> Iterable[Value]:
    """Bits per parameter; a model without parameters has none."""
    if measurement.parameters:
        bits = sum(layer.effective_bits * layer.parameters for layer in measurement.layers)
        yield Value(bits / measurement.parameters)
