"""Make a store of very many prediction rows in minutes: few answers are drawn, and each model mixes them anew.

`python -m tests.benchmarks.make_large_store PATH --models 1000 --instances 100000 --classes 3`. The lineage is a tree
in which every model has ten children. Everything follows from the seed.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
import pyarrow as pa

from cc_ray.evaluate.answers.classes import Classes
from cc_ray.recipe import Recipe, Step, identity
from cc_ray.store import Store
from tests.benchmarks.make_predictions import _answers, _model_rows, _task_rows

DRAWN: Final = 8
"""Sets of answers that are drawn, the base model's included."""
PARTS: Final = 4
"""Ranges of instances, of which each takes its answers from any set: 8^4 models differ."""
CHILDREN: Final = 10


def make_large_store(
    root: Path | str, *, models: int = 1_000, instances: int = 100_000, classes: int = 3, seed: int = 0
) -> Store:
    """Fill a new store.

    Args:
        root: Folder of the store; made if it is not there.
        models: Number of models, the base model included.
        instances: Number of evaluation instances.
        classes: Number of classes.
        seed: The same seed gives the same store.
    """
    store = Store(root, create=True)
    labels = np.random.default_rng(seed).integers(0, classes, instances).astype(np.int32)
    task_id = identity("task", "large", instances, classes, seed)
    store.publish("task", task_id, _task_rows(task_id, labels, classes))
    drawn = [pa.concat_tables(_answers("", index, labels, classes, seed)).combine_chunks() for index in range(DRAWN)]
    drawn = [drawn[0], *(Classes.compared(answers, base=drawn[0], parent=None) for answers in drawn[1:])]
    drawn[0] = Classes.compared(drawn[0], base=drawn[0], parent=None)
    # Most of the time otherwise; a power cut would only end the benchmark.
    with mock.patch.object(os, "fsync", lambda handle: None):
        for index in range(models):
            answers = _mixed(drawn, index, instances)
            store.publish("step", *_rows(_recipe(index), task_id, answers, index))
    return store


def _mixed(drawn: list[pa.Table], index: int, instances: int) -> pa.Table:
    size = -(-instances // PARTS)
    places = range(PARTS)
    return pa.concat_tables(drawn[index // DRAWN**part % DRAWN].slice(part * size, size) for part in places)


def _recipe(index: int) -> Recipe:
    steps: list[Step] = []
    while index:
        steps.append(Step("magnitude_pruning", {"sparsity": index % 97 / 100, "seed": index}))
        index = (index - 1) // CHILDREN
    return Recipe("net", tuple(reversed(steps)), 0)


def _rows(recipe: Recipe, task_id: str, answers: pa.Table, index: int) -> tuple[str, dict[str, Any]]:
    rows = _model_rows(recipe, task_id, answers)
    ids = recipe.model_ids(task_id)
    rows["lineage"] = [{"child": ids[-1], "parent": ids[-2], "role": "parent"}] if recipe.steps else []
    measured = np.random.default_rng([0, index]).random(2)
    for name, value in zip(("size_bytes", "latency_p50_ms"), measured, strict=True):
        rows["metrics"].append({**rows["metrics"][0], "metric": name, "value": float(value * 1e6)})
    named = answers.set_column(
        answers.column_names.index("model_id"), "model_id", pa.repeat(pa.scalar(ids[-1]), len(answers))
    )
    return ids[-1], {**rows, "predictions": named}


def main() -> None:
    """Make a store from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    for name, default in (("models", 1_000), ("instances", 100_000), ("classes", 3), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = vars(parser.parse_args())
    make_large_store(arguments.pop("path"), **arguments)


if __name__ == "__main__":
    main()
