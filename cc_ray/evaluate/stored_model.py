"""A model of the store with its task, ready to be taken apart and measured anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import nn

from cc_ray.compress import Context
from cc_ray.errors import ModelNotFoundError, UnknownMetricError
from cc_ray.evaluate.metrics import metrics, right_of
from cc_ray.recipe import Recipe
from cc_ray.store import Store, artifacts
from cc_ray.tasks import Split, Task, task_from_json


@dataclass(frozen=True)
class StoredModel:
    """A model whose weights are in the store."""

    store: Store
    task: Task
    row: Mapping[str, Any]
    """Its row of `schema.MODELS`."""

    @classmethod
    def find(cls, store: Store, model_id: str) -> Self:
        """The model of this identity.

        Raises:
            ModelNotFoundError: If the store has no such model, or not its weights.
            UnknownTaskError: If its task is not registered here.
        """
        rows = store.read("models", keys={"step": model_id}).to_pylist()
        row = next((row for row in rows if row["model_id"] == model_id), None)
        if row is None or store.layout.artifact_bytes(row["artifact"]) is None:
            raise ModelNotFoundError(
                f"{store.root} holds no weights of a model '{model_id}': only what CC-Ray made can be taken apart."
            )
        (task,) = store.read("tasks", keys={"task": row["task_id"]}).to_pylist()
        return cls(store, task_from_json({"task": task["task"], "parameters": json.loads(task["parameters"])}), row)

    @property
    def model_id(self) -> str:
        """Its identity."""
        return str(self.row["model_id"])

    @cached_property
    def recipe(self) -> Recipe:
        """How it came to be."""
        return Recipe.from_json(json.loads(self.row["recipe"]))

    @cached_property
    def judged_by(self) -> tuple[str, ...]:
        """Metrics that were taken from its answers to the evaluation split, in order of name."""
        rows = self.store.read("metrics", keys={"step": self.model_id}).to_pylist()
        measured = {row["metric"] for row in rows if row["split"] == "evaluation" and row["slice"] == "all"}
        return tuple(name for name in metrics if name in measured)

    def judged_on(self, split: Split) -> tuple[str, ...]:
        """Those of `judged_by` that another split gives too: the base model's answers are known to evaluation alone."""
        return tuple(name for name in self.judged_by if split == "evaluation" or metrics[name].of_answers)

    def metric(self, wanted: str | None, split: Split = "evaluation") -> str:
        """The metric that is wanted, or where none is named the first of `judged_on` that is primary, or the first.

        Raises:
            UnknownMetricError: If it is none of `judged_on`, or there are none.
        """
        known = self.judged_on(split)
        if wanted in known:
            return str(wanted)
        if wanted or not known:
            raise UnknownMetricError(wanted or "accuracy", known)
        return next((name for name in known if metrics[name].definition.primary), known[0])

    def load(self) -> nn.Module:
        """A fresh copy, in evaluation mode on the CPU, with the outputs that were measured."""
        return artifacts.load_model(self.store.layout, self.row["artifact"], self.task.build(self.row["base"]))

    def context(self) -> Context:
        """What an operation gets that works on this model as the next step of its recipe."""
        return Context(self.task, self.recipe.seed, lambda index: self.find(self.store, self._ids[index]).load())

    def base_correct(self, instances: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Whether the base model of its recipe is right, (n,), of these; None where none is right or wrong."""
        return right_of(self.store.read("predictions", keys={"step": self._ids[0]}).sort_by("instance"), instances)

    @property
    def _ids(self) -> tuple[str, ...]:
        return self.recipe.model_ids(str(self.row["task_id"]))
