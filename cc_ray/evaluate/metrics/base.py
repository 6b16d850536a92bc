"""What a metric is: a definition, what it is taken from, and a function that gives its values.

A metric is taken from a `Measurement` (a model, its predictions and its layers), from a `Timing`, a `BatchTiming` or
`GpuMemory`. Register one with `@metric("name", Measurement, definition)`, one a file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Generic, Literal, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import binomtest, t
from torch import Tensor, nn

from cc_ray.errors import UnknownMetricError
from cc_ray.evaluate.answers import Answers
from cc_ray.evaluate.gpu_memory import GpuMemory
from cc_ray.evaluate.latency import BatchTiming, Interval, Timing
from cc_ray.evaluate.layers import Layer
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
    def timed(cls, interval: Interval, device: str) -> Value:
        """A value that was timed on a device of this machine."""
        return cls(interval.value, interval.low, interval.high, interval.n, device=device)


@dataclass(frozen=True)
class Measurement:
    """What is known of one model; metrics are computed from it."""

    task: Task
    model: nn.Module
    """In evaluation mode, on the CPU; metrics leave it as it is."""
    inputs: Tensor
    """One evaluation instance, (1, ...)."""
    predictions: Any
    """Its answers on the evaluation split, of the kind that the metric says it is taken from."""
    slices: Mapping[str, NDArray[np.bool_]]
    """Which evaluation instances belong to a slice, (n,), by name of the slice; "all" comes first."""
    layers: tuple[Layer, ...]
    """Its parameters."""
    artifact_size: int
    """Bytes of the saved model."""
    base_correct: NDArray[np.bool_] | None = None
    """Whether its base model is right, (n,); None for a base model, and where answers are not right or wrong."""

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(layer.parameters for layer in self.layers)


Subject = TypeVar("Subject", Measurement, Timing, BatchTiming, GpuMemory)


@dataclass(frozen=True)
class Metric(Generic[Subject]):
    """A registered metric."""

    definition: MetricDefinition
    subject: type[Subject]
    """What it is taken from."""
    values: Callable[[Subject], Iterable[Value]]
    """Its value on each slice; none where the subject cannot give one."""
    answers: tuple[type[Answers], ...] = (Answers,)
    """Kinds of answers that it can be taken from, where it is taken from a `Measurement`."""
    of_answers: bool = False
    """It looks at nothing but a model's own answers, so that any part of the instances gives a value."""

    def fits(self, kind: type[Answers]) -> bool:
        """Whether it can be taken from models that give this kind of answers."""
        return issubclass(kind, self.answers)

    def takes(self, subject: object) -> bool:
        """Whether it can be taken from a subject."""
        return isinstance(subject, self.subject) and (
            not isinstance(subject, Measurement) or self.fits(type(subject.predictions))
        )


metrics: Final[Registry[Metric[Any]]] = Registry("cc_ray.evaluate.metrics", "cc_ray.metrics", UnknownMetricError)


def metric(
    name: str,
    subject: type[Subject],
    definition: MetricDefinition,
    *,
    answers: tuple[type[Answers], ...] = (Answers,),
    of_answers: bool = False,
) -> Callable[[Callable[[Subject], Iterable[Value]]], Callable[[Subject], Iterable[Value]]]:
    """Register a function as a metric.

    Args:
        name: The metric's name, with its unit where it has one: `latency_p50_ms`.
        subject: What the function takes.
        definition: What the metric means.
        answers: Kinds of answers that it can be taken from; a task whose models give others goes without it.
        of_answers: It looks at nothing but a model's own answers.
    """

    def add(values: Callable[[Subject], Iterable[Value]]) -> Callable[[Subject], Iterable[Value]]:
        metrics.register(name)(Metric(definition, subject, values, answers, of_answers))
        return values

    return add


def on_slices(measurement: Measurement, value: Callable[[NDArray[np.bool_]], Value]) -> Iterable[Value]:
    """Apply a function of chosen predictions, (n,) flags, to every slice that has any."""
    for name, chosen in measurement.slices.items():
        if chosen.any():
            yield replace(value(chosen), split="evaluation", slice=name)


def rows(subject: Measurement | Timing | BatchTiming | GpuMemory, model_id: str) -> list[dict[str, Any]]:
    """Rows of `schema.METRICS`: the values of all metrics that are taken from this kind of subject."""
    return [
        {"model_id": model_id, "metric": name, **asdict(value)}
        for name, held in metrics.items()
        if held.takes(subject)
        for value in held.values(subject)
    ]


def right_of(rows: pa.Table, instances: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Whether the answer to each instance is right, (n,); None where answers are not right or wrong.

    Args:
        rows: Columns `instance` and `correct` of a model's predictions, in order of instance.
        instances: Identities, (n,).
    """
    if rows["correct"].null_count:
        return None
    found: NDArray[np.bool_] = rows["correct"].to_numpy()[np.searchsorted(rows["instance"].to_numpy(), instances)]
    return found


def share_on(right: NDArray[np.bool_]) -> Value:
    """The share that is true, (n,), with Wilson's 95 % interval."""
    interval = binomtest(int(right.sum()), right.size).proportion_ci(method="wilson")
    return Value(float(right.mean()), float(interval.low), float(interval.high), right.size)


def mean_on(values: NDArray[np.float64], low: float = -math.inf, high: float = math.inf) -> Value:
    """A mean with Student's 95 % interval; without one where there are fewer than two values.

    Args:
        values: (n,).
        low: No value can be below it, nor an end of the interval.
        high: None can be above it.
    """
    mean = float(values.mean())
    if values.size < 2:
        return Value(mean, n=values.size)
    reach = float(t.ppf(0.975, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size))
    return Value(mean, max(low, mean - reach), min(high, mean + reach), values.size)
