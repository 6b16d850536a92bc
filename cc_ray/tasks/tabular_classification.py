"""Rows of tables, each of a class: modules of the user's on numbers and categories of Parquet or CSV."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import torch

from cc_ray.recipe import canonical_json
from cc_ray.tasks.base import task
from cc_ray.tasks.sources import class_labels
from cc_ray.tasks.tables import Held, Tabular, write_example


@task("tabular_classification")
class TabularClassification(Tabular):
    """Which class a row of a table is of.

    A base model's function is given `inputs`, the number of its inputs, and `outputs`, that of the classes, besides its
    own arguments; with `categories="indices"` also `categories`, the number of indices of each of the last inputs.
    """

    classes: tuple[str, ...] = ()
    """Names of the classes in the order of the models' outputs; if left out, what the data says (`class_labels`)."""

    @classmethod
    def example(cls, folder: Path) -> Self:
        """Points right and left of a line that depends on their colour."""
        return cls(**write_example(folder), target="side")

    @property
    def class_names(self) -> tuple[str, ...]:
        """`classes`, or what the data says."""
        return self.classes or self.held.class_names

    @property
    def outputs(self) -> int:
        """One a class."""
        return len(self.class_names)

    @property
    def held(self) -> Held:
        """The data, read once by a process."""
        return _held(canonical_json(self.model_dump(mode="json")))


@lru_cache(maxsize=2)
def _held(parameters: str) -> Held:
    task = TabularClassification.model_validate_json(parameters)
    rows, cut = task.read()
    labels, names = class_labels(rows, task.target, task.classes)
    answers = {"label": pa.array(labels, pa.int32()), "label_name": pa.array(np.array(names)[labels])}
    return Held(task, rows, cut, torch.from_numpy(labels), answers, names)
