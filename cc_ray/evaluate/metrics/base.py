"""What a metric is: a definition, what it is taken from, and a function that gives its values.

A metric is taken from a `Measurement` (a model, its predictions and its layers), from a `Timing` or from a
`BatchTiming`. Register one with `@metric("name", Measurement, definition)`, one a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from cc_ray.errors import UnknownMetricError
from cc_ray.evaluate.latency import DEVICE, BatchTiming, Interval, Timing
from cc_ray.evaluate.layers import Layer
from cc_ray.evaluate.predictions import Predictions
from cc_ray.registry import Registry
from cc_ray.tasks import Task

Direction = Literal["higher", "lower", "none"]
Format = Literal["percent", "bytes", "count", "ms", "bits", "number"]


@dataclass(frozen=True)
class MetricDefinition:
    """What a metric means; the fields are columns of `schema.METRIC_DEFINITIONS`."""

    label: str
    """Name on the screen."""
    meaning: str
    """Definition in one sentence."""
    direction: Direction
    """Which values are better."""
    format: Format
    """How a value is written."""
    unit: str = ""
    """Empty for counts and shares."""
    min: float | None = 0.0
    """Smallest possible value."""
    max: float | None = None
    """Largest possible value."""
    primary: bool = False
    """Shown first."""


@dataclass(frozen=True)
class Value:
    """A metric's value on a slice; the fields are columns of `schema.METRICS`."""

    value: float
    ci_low: float | None = None
    ci_high: float | None = None
    n: int | None = None
    split: str = ""
    slice: str = "all"
    device: str = ""

    @classmethod
    def timed(cls, interval: Interval) -> Value:
        """A value that was timed on this machine."""
        return cls(interval.value, interval.low, interval.high, interval.n, device=DEVICE)


@dataclass(frozen=True)
class Measurement:
    """What is known of one model; metrics are computed from it."""

    task: Task
    model: nn.Module
    """In evaluation mode, on the CPU; metrics leave it as it is."""
    inputs: Tensor
    """One evaluation instance, (1, ...)."""
    predictions: Predictions
    """Its answers on the evaluation split."""
    slices: Mapping[str, NDArray[np.bool_]]
    """Which evaluation instances belong to a slice, (n,), by name of the slice; "all" comes first."""
    layers: tuple[Layer, ...]
    """Its parameters."""
    artifact_size: int
    """Bytes of the saved model."""
    base_correct: NDArray[np.bool_] | None = None
    """Whether its base model is right, (n,); None for a base model."""

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(layer.parameters for layer in self.layers)


Subject = TypeVar("Subject", Measurement, Timing, BatchTiming)


@dataclass(frozen=True)
class Metric(Generic[Subject]):
    """A registered metric."""

    definition: MetricDefinition
    subject: type[Subject]
    """What it is taken from."""
    values: Callable[[Subject], Iterable[Value]]
    """Its value on each slice; none where the subject cannot give one."""
    of_answers: bool = False
    """It looks at nothing but a model's own answers, so that any part of the instances gives a value."""


metrics: Final[Registry[Metric[Any]]] = Registry("cc_ray.evaluate.metrics", "cc_ray.metrics", UnknownMetricError)


def metric(
    name: str, subject: type[Subject], definition: MetricDefinition, *, of_answers: bool = False
) -> Callable[[Callable[[Subject], Iterable[Value]]], Callable[[Subject], Iterable[Value]]]:
    """Register a function as a metric.

    Args:
        name: The metric's name, with its unit where it has one: `latency_p50_ms`.
        subject: What the function takes.
        definition: What the metric means.
        of_answers: It looks at nothing but a model's own answers.
    """

    def add(values: Callable[[Subject], Iterable[Value]]) -> Callable[[Subject], Iterable[Value]]:
        metrics.register(name)(Metric(definition, subject, values, of_answers))
        return values

    return add


def on_slices(measurement: Measurement, value: Callable[[NDArray[np.bool_]], Value]) -> Iterable[Value]:
    """Apply a function of chosen predictions, (n,) flags, to every slice that has any."""
    for name, chosen in measurement.slices.items():
        if chosen.any():
            yield replace(value(chosen), split="evaluation", slice=name)


def rows(subject: Measurement | Timing | BatchTiming, model_id: str) -> list[dict[str, Any]]:
    """Rows of `schema.METRICS`: the values of all metrics that are taken from this kind of subject."""
    return [
        {"model_id": model_id, "metric": name, **asdict(value)}
        for name, held in metrics.items()
        if isinstance(subject, held.subject)
        for value in held.values(subject)
    ]
