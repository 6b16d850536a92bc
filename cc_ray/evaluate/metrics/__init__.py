"""Metrics: one a file, each with its definition beside its computation."""

from cc_ray.evaluate.metrics.base import (
    Measurement,
    Metric,
    MetricDefinition,
    Value,
    metric,
    metrics,
    right_of,
    rows,
)

__all__ = ["Measurement", "Metric", "MetricDefinition", "Value", "metric", "metrics", "right_of", "rows"]
