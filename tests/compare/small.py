"""Stores of a few rows, written by hand through the real `Store`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from cc_ray.recipe import Recipe, Step, canonical_json
from cc_ray.store import Store

START = datetime(2026, 1, 1, tzinfo=UTC)
TASK = "digits-1"
NO_ARTIFACT = "0" * 64
Value = float | tuple[float, float, float]
"""A metric's value, or value, low and high."""


def new_store(
    root: Path | str, *, directions: Mapping[str, str] | None = None, tasks: Sequence[str] = (TASK,)
) -> Store:
    """A store that knows its tasks and metrics and has no models."""
    store = Store(root, create=True)
    for task_id in tasks:
        rows = {
            "tasks": [
                {
                    "task_id": task_id,
                    "task": task_id.partition("-")[0],
                    "parameters": "{}",
                    "class_names": ["zero", "one", "two"],
                    "bases": ["net"],
                    "created_at": START,
                }
            ],
            "metric_definitions": [
                _definition(metric, direction) for metric, direction in (directions or {"accuracy": "higher"}).items()
            ],
        }
        store.publish("task", task_id, rows)
    return store


def add_model(
    store: Store,
    model_id: str,
    *,
    parent: str | None = None,
    steps: Sequence[Step] = (),
    base: str = "net",
    seed: int = 0,
    task_id: str = TASK,
    metrics: Mapping[str, Value] | None = None,
    labels: Sequence[int] = (),
    probabilities: Sequence[Sequence[float]] = (),
    layers: Sequence[Mapping[str, Any]] = (),
    findings: Sequence[Mapping[str, Any]] = (),
    artifact: str = NO_ARTIFACT,
) -> str:
    """Publish one model with what is known of it; returns its model_id."""
    rows = {
        "models": [model_row(model_id, Recipe(base, tuple(steps), seed), len(store.keys("step")), task_id, artifact)],
        "lineage": [{"child": model_id, "parent": parent, "role": "parent"}] if parent else [],
        "metrics": [_metric(model_id, metric, value) for metric, value in (metrics or {}).items()],
        "predictions": predictions_of(model_id, labels, probabilities),
        "layers": [{**_layer(), **layer, "model_id": model_id} for layer in layers],
        "findings": [{"layer": "", **finding, "model_id": model_id} for finding in findings],
    }
    assert store.publish("step", model_id, rows)
    return model_id


def model_row(
    model_id: str, recipe: Recipe, position: int = 0, task_id: str = TASK, artifact: str = NO_ARTIFACT
) -> dict[str, Any]:
    """A row of `models`."""
    last = recipe.steps[-1] if recipe.steps else None
    return {
        "model_id": model_id,
        "task_id": task_id,
        "base": recipe.base,
        "name": str(recipe),
        "operation": last.operation if last else None,
        "parameters": canonical_json(last.parameters) if last else "{}",
        "recipe": canonical_json(recipe.to_json()),
        "step_index": len(recipe.steps),
        "seed": recipe.seed,
        "artifact": artifact,
        "representation": "float",
        "study_id": "study",
        "device": "cpu",
        "duration_s": 1.0,
        "created_at": START + timedelta(seconds=position),
    }


def answers(predictions: Sequence[int], classes: int = 3, confidence: float = 0.8) -> list[list[float]]:
    """Probabilities that put `confidence` on each prediction and the rest evenly on the other classes."""
    rest = (1 - confidence) / (classes - 1)
    return [[confidence if label == prediction else rest for label in range(classes)] for prediction in predictions]


def _definition(metric: str, direction: str) -> dict[str, Any]:
    return {
        "metric": metric,
        "label": metric.capitalize(),
        "unit": "",
        "direction": direction,
        "primary": metric == "accuracy",
        "format": "number",
        "meaning": metric,
    }


def _metric(model_id: str, metric: str, value: Value) -> dict[str, Any]:
    measured, low, high = value if isinstance(value, tuple) else (value, None, None)
    row = {"model_id": model_id, "metric": metric, "split": "", "slice": "all", "device": ""}
    return {**row, "value": measured, "ci_low": low, "ci_high": high}


def predictions_of(
    model_id: str, labels: Sequence[int], probabilities: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    return [
        _prediction(model_id, instance, label, np.asarray(p, np.float32))
        for instance, (label, p) in enumerate(zip(labels, probabilities, strict=True))
    ]


def _prediction(model_id: str, instance: int, label: int, p: Any) -> dict[str, Any]:
    prediction = int(p.argmax())
    return {
        "model_id": model_id,
        "instance": instance,
        "label": label,
        "prediction": prediction,
        "correct": prediction == label,
        "confidence": p.max(),
        "true_probability": p[label],
        "loss": -np.log(max(p[label], 1e-12)),
        "margin": 0.0,
        "entropy": 0.0,
        "probabilities": p.tolist(),
    }


def _layer() -> dict[str, Any]:
    return {
        "tensor": "weight",
        "module": "Linear",
        "dtype": "float32",
        "effective_bits": 32.0,
        "l1": 0.0,
        "l2": 1.0,
        "min": 0.0,
        "max": 0.0,
        "histogram": [],
        "histogram_edges": [],
        "reshaped": False,
    }
