"""Size: bytes of the saved model."""

from __future__ import annotations

from collections.abc import Iterable

from cc_ray.evaluate.metrics.base import Measurement, MetricDefinition, Value, metric


@metric(
    "size_bytes",
    Measurement,
    MetricDefinition(
        label="Size",
        meaning="Bytes of the file that the model is saved in, its header included.",
        direction="lower",
        format="bytes",
        unit="bytes",
        primary=True,
    ),
)
def size_bytes(measurement: Measurement) -> Iterable[Value]:
    """Bytes on disk."""
    yield Value(float(measurement.artifact_size))
