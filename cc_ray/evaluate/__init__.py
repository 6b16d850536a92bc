"""Measures of a model: metrics, predictions, layers, activations, latency."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import nn

from cc_ray.evaluate.activations import activations
from cc_ray.evaluate.answers import Answers, kind_of
from cc_ray.evaluate.examiner import Examiner
from cc_ray.evaluate.gpu_memory import gpu_memory
from cc_ray.evaluate.latency import BATCHES_SHARE, BUDGET_S, time_batches, time_beside
from cc_ray.evaluate.layers import layers
from cc_ray.evaluate.metrics import Measurement, MetricDefinition, Value, metric, metrics, right_of, rows
from cc_ray.store.tables import Rows
from cc_ray.store.weights import Weight
from cc_ray.tasks import Task

__all__ = [
    "Examiner",
    "Measurement",
    "MetricDefinition",
    "Value",
    "measure",
    "measure_latency",
    "metric",
    "metric_definitions",
    "metrics",
]


def measure(
    task: Task,
    model: nn.Module,
    *,
    model_id: str,
    artifact_size: int,
    weights: Mapping[str, Weight],
    predictions: Answers,
    parent_weights: Mapping[str, Weight] | None = None,
    parent: nn.Module | None = None,
    kept: Mapping[str, list[list[int]]] | None = None,
    base: pa.Table | None = None,
) -> dict[str, Rows]:
    """Measure a model on the evaluation split: everything but time.

    Args:
        task: The task that the model solves.
        model: In evaluation mode, on the CPU; left as it is. Answers come from the step's device.
        model_id: Identity of the model.
        artifact_size: Bytes of the file that the model is saved in.
        weights: The saved values by tensor name.
        predictions: Its answers to the evaluation split.
        parent_weights: Those of the parent model; None for a base model.
        parent: The parent model itself, for the errors of single modules; None leaves them unmeasured.
        kept: What the operation recorded of reshaped tensors: by name, for each axis the parent's indices left.
        base: Columns `instance` and `correct` of the base model's predictions, in order of instance; None for a base
            model.

    Returns:
        Rows of the tables `metrics`, `layers` and `activations`.
    """
    data = task.data("evaluation")
    measurement = Measurement(
        task=task,
        model=model,
        inputs=data.inputs[:1],
        predictions=predictions,
        slices=_slices(task),
        layers=tuple(layers(model, weights, parent_weights, kept)),
        artifact_size=artifact_size,
        base_correct=None if base is None else right_of(base, data.instances.numpy()),
    )
    return {
        "metrics": rows(measurement, model_id),
        "layers": [layer.row(model_id) for layer in measurement.layers],
        "activations": [{"model_id": model_id, **row} for row in activations(task, model, data, parent)],
    }


def measure_latency(
    task: Task,
    model: nn.Module,
    base_model: nn.Module,
    *,
    model_id: str,
    budget_s: float = BUDGET_S,
    alone: AbstractContextManager[None] | None = None,
) -> list[dict[str, Any]]:
    """Time a model beside its base model, and its batches; nothing else should run on the machine meanwhile.

    Args:
        task: The task that both solve.
        model: In evaluation mode, on the CPU.
        base_model: The base model of its recipe; may be the same model.
        model_id: Identity of the model.
        budget_s: About how long the timed passes of both take together; batches take a fifth of it.
        alone: Keeps others away; held no longer than the passes take.

    Returns:
        Rows of the table `metrics`, with what it takes of the memory where the step holds a GPU; a percentile that the
        passes cannot support is left out.
    """
    with alone or nullcontext():
        latency = time_beside(task, model, base_model, budget_s=budget_s)
        batches = time_batches(task, model, budget_s=budget_s * BATCHES_SHARE)
    memory = gpu_memory(task, model)
    return [row for found in (latency, batches, memory) if found is not None for row in rows(found, model_id)]


def metric_definitions(task: Task | None = None) -> list[dict[str, Any]]:
    """Rows of the table `metric_definitions`: every registered metric, or those that fit a task, in order of name."""
    return [
        {"metric": name, **vars(held.definition)}
        for name, held in metrics.items()
        if task is None or held.fits(kind_of(task))
    ]


def _slices(task: Task) -> dict[str, NDArray[np.bool_]]:
    members = task.instances().column("slices").to_pylist()
    names = sorted({name for held in members for name in held})
    return {
        "all": np.ones(len(members), bool),
        **{name: np.array([name in held for held in members]) for name in names},
    }
