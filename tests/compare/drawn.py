"""Models whose answers are arrays: drawn by a test, or real ones of five networks on CIFAR-10."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import special

from cc_ray.recipe import Recipe, Step
from cc_ray.store import Store
from tests.compare.small import TASK, model_row

REAL: Final = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "cifar_predictions"
REAL_MODELS: Final = ("vgg16_keras", "resnet_basic_32", "resnet_basic_44", "resnet_basic_56", "resnet_basic_110")


def add_answers(
    store: Store, model_id: str, labels: NDArray[np.int32], probabilities: NDArray[np.float64], *, seed: int = 0
) -> str:
    """Publish a model with all columns that follow from labels (n,) and probabilities (n, classes)."""
    p = np.asarray(probabilities, np.float32)
    every = np.arange(len(labels))
    true, others = p[every, labels], p.copy()
    others[every, labels] = -1
    columns = {
        "confidence": p.max(axis=1),
        "true_probability": true,
        "loss": -np.log(np.maximum(true, np.float32(1e-12))),
        "margin": true - others.max(axis=1),
        "entropy": special.entr(p).sum(axis=1).astype(np.float32),
        "probabilities": pa.array(list(p), pa.list_(pa.float32())),
    }
    return _publish(store, model_id, labels, p.argmax(axis=1), columns, seed)


def add_classes(store: Store, model_id: str, labels: Any, predictions: Any) -> str:
    """Publish a model of which only the predicted classes are known."""
    count = len(labels)
    columns = {
        name: pa.nulls(count, pa.float32()) for name in ("confidence", "true_probability", "loss", "margin", "entropy")
    }
    columns["probabilities"] = pa.nulls(count, pa.list_(pa.float32()))
    return _publish(store, model_id, np.asarray(labels), np.asarray(predictions), columns, 0)


def add_instances(store: Store, labels: Any, slices: list[list[str]], payloads: list[bytes] | None = None) -> None:
    """Publish the instances 0, 1, ... of the task."""
    count = len(labels)
    table = {
        "task_id": pa.repeat(TASK, count),
        "instance": np.arange(count),
        "label": pa.array(labels, pa.int32()),
        "label_name": [str(label) for label in labels],
        "slices": pa.array(slices, pa.list_(pa.string())),
        "payload": pa.array(payloads or [b"-"] * count, pa.binary()),
        "payload_type": pa.repeat("text/plain", count),
    }
    store.publish("task", "instances", {"instances": pa.table(table)})


def real_predictions() -> tuple[NDArray[np.int32], dict[str, NDArray[np.int32]]]:
    """True and predicted classes of five networks on the 10,000 test images of CIFAR-10; skips where they are not."""
    if not REAL.exists():
        pytest.skip("the real predictions are not beside the project")
    labels = np.load(REAL / "cifar10_test_labels.npy").astype(np.int32)
    files = {name: REAL / "original" / f"{name}_predictions.json" for name in REAL_MODELS}
    return labels, {name: np.array(json.loads(file.read_text()), np.int32) for name, file in files.items()}


def _publish(store: Store, model_id: str, labels: Any, predictions: Any, columns: dict[str, Any], seed: int) -> str:
    count = len(labels)
    answers = {
        "model_id": pa.repeat(model_id, count),
        "instance": np.arange(count),
        "label": pa.array(labels, pa.int32()),
        "prediction": pa.array(predictions, pa.int32()),
        "correct": predictions == labels,
        **columns,
    }
    recipe = Recipe("net", (Step(model_id),), seed)
    rows = {"models": [model_row(model_id, recipe)], "predictions": pa.table(answers)}
    assert store.publish("step", model_id, rows)
    return model_id
