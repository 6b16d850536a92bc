"""Make a store of models with many predictions: any number of instances and classes, one model in memory at a time.

Probabilities are drawn: a base model that is right most of the time, and children that each blur it a little more. The
lineage is a star: every model is a child of the first. Everything follows from the seed. Run it with
`python -m tests.benchmarks.make_predictions PATH --models 20 --instances 50000 --classes 1000`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.evaluate.answers.classes import Classes
from cc_ray.recipe import Recipe, Step, canonical_json, identity
from cc_ray.store import Store
from tests.benchmarks.make_store import METRICS, START

BLOCK: Final = 8_192
"""Instances that are drawn at once."""
BASE: Final = "net"


def make_predictions(
    root: Path | str,
    *,
    models: int = 20,
    instances: int = 50_000,
    classes: int = 10,
    record: bool = True,
    seed: int = 0,
) -> Store:
    """Fill a new store.

    Args:
        root: Folder of the store; made if it is not there.
        models: Number of models, the base model included.
        instances: Number of evaluation instances.
        classes: Number of classes.
        record: Record each child's divergence from its base and parent, as a step does.
        seed: The same seed gives the same store.
    """
    store = Store(root, create=True)
    labels = np.random.default_rng(seed).integers(0, classes, instances).astype(np.int32)
    task_id = identity("task", "predictions", instances, classes, seed)
    store.publish("task", task_id, _task_rows(task_id, labels, classes))
    base: pa.Table | None = None
    for index in range(models):
        recipe = _recipe(index)
        model_id = recipe.model_ids(task_id)[-1]
        answers = pa.concat_tables(_answers(model_id, index, labels, classes, seed)).combine_chunks()
        if record and base is not None:
            answers = Classes.compared(answers, base=base, parent=base)
        base = answers if base is None else base
        store.publish("step", model_id, {**_model_rows(recipe, task_id, answers), "predictions": answers})
    return store


def _recipe(index: int) -> Recipe:
    steps = () if index == 0 else (Step("magnitude_pruning", {"sparsity": index / 100, "scope": "global"}),)
    return Recipe(BASE, steps, 0)


def _answers(model_id: str, index: int, labels: NDArray[np.int32], classes: int, seed: int) -> Iterator[pa.Table]:
    """Rows of `predictions`; a child is its base with noise of its own, more of it the later it comes."""
    for start in range(0, len(labels), BLOCK):
        own_labels = labels[start : start + BLOCK]
        shared, own = np.random.default_rng([seed, start]), np.random.default_rng([seed, start, index + 1])
        logits = shared.standard_normal((len(own_labels), classes), np.float32)
        if index:
            logits += np.float32(0.05 * index) * own.standard_normal(logits.shape, np.float32)
        logits[np.arange(len(logits)), own_labels] += np.float32(np.log(classes) + 1)
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        instances = np.arange(start, start + len(own_labels))
        yield Classes(instances, own_labels.astype(np.int64), logits.astype(np.float64)).table(model_id)


def _task_rows(task_id: str, labels: NDArray[np.int32], classes: int) -> dict[str, Any]:
    task = {
        "task_id": task_id,
        "task": "synthetic",
        "parameters": "{}",
        "class_names": [f"class {label}" for label in range(classes)],
        "bases": [BASE],
        "created_at": START,
    }
    names = ("metric", "label", "unit", "direction", "min", "max", "primary", "format", "meaning")
    count = len(labels)
    text = pa.array([f"class {label}" for label in range(classes)])
    slices = pa.array([[f"class:{label}"] for label in range(classes)])
    instances = pa.table(
        {
            "task_id": pa.repeat(task_id, count),
            "instance": np.arange(count),
            "label": labels,
            "label_name": text.take(pa.array(labels)),
            "slices": slices.take(pa.array(labels)),
            "payload": pa.repeat(pa.scalar(b"-"), count),
            "payload_type": pa.repeat("text/plain", count),
        }
    )
    metrics = [dict(zip(names, metric, strict=True)) for metric in METRICS]
    return {"tasks": [task], "metric_definitions": metrics, "instances": instances}


def _model_rows(recipe: Recipe, task_id: str, answers: pa.Table) -> dict[str, list[dict[str, Any]]]:
    ids = recipe.model_ids(task_id)
    operation = recipe.steps[-1].operation if recipe.steps else None
    model = {
        "model_id": ids[-1],
        "task_id": task_id,
        "base": BASE,
        "name": str(recipe),
        "operation": operation,
        "parameters": canonical_json(recipe.steps[-1].parameters) if recipe.steps else "{}",
        "recipe": canonical_json(recipe.to_json()),
        "step_index": len(recipe.steps),
        "seed": 0,
        "artifact": "0" * 64,
        "representation": "float",
        "study_id": "synthetic",
        "device": "cpu",
        "duration_s": 1.0,
        "created_at": START,
    }
    edges = [{"child": ids[-1], "parent": ids[0], "role": "parent"}] if recipe.steps else []
    value = float(np.mean(answers["correct"].to_numpy()))
    accuracy = {"model_id": ids[-1], "metric": "accuracy", "split": "evaluation", "slice": "all", "device": ""}
    return {"models": [model], "lineage": edges, "metrics": [{**accuracy, "value": value, "n": len(answers)}]}


def main() -> None:
    """Make a store from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    for name, default in (("models", 20), ("instances", 50_000), ("classes", 10), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--record", action=argparse.BooleanOptionalAction, default=True)
    arguments = vars(parser.parse_args())
    make_predictions(arguments.pop("path"), **arguments)


if __name__ == "__main__":
    main()
