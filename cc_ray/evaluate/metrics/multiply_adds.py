"""Multiply-adds: the arithmetic of one forward pass."""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric
from cc_ray.store.exported import Program
from cc_ray.tasks.arithmetic import count_multiply_adds


@metric(
    "multiply_adds",
    Measurement,
    MetricDefinition(
        label="Multiply-adds",
        meaning=(
            "Multiplications with an addition in linear layers, convolutions, matrix products and attention for one "
            "instance; zeros count, whatever their bit width."
        ),
        direction="lower",
        format="count",
        primary=True,
    ),
)
def multiply_adds(measurement: Measurement) -> Iterable[Value]:
    """Multiply-adds of one instance; torch does not see those of an exported program."""
    if isinstance(measurement.model, Program):
        return
    yield Value(float(count_multiply_adds(measurement.task, measurement.model, measurement.inputs)))
