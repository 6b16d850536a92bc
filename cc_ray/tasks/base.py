"""What a task is: a model family, the data it is trained and judged on, and how an instance is shown.

A task is frozen data (its fields) plus the methods below. Its training, calibration and evaluation instances are
disjoint; operations ask for a split by name, so that what they used is known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import pyarrow as pa
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from cc_ray.errors import InvalidRecipeError, UnknownTaskError
from cc_ray.noise import silence
from cc_ray.recipe import identity
from cc_ray.registry import Registry

# Tasks import transformers, which imports torchao.
silence()

Split = Literal["train", "calibration", "evaluation"]


@dataclass(frozen=True)
class Data:
    """The instances of one split, on the CPU."""

    inputs: Tensor
    """Model inputs, (n, ...)."""
    labels: Tensor
    """Index of the true class, (n,), int64."""
    instances: Tensor
    """Identity of each instance within the task, (n,), int64; no identity is in two splits."""

    def __len__(self) -> int:
        return len(self.labels)


class Task(BaseModel, ABC):
    """A classification task. Subclasses are registered with `@task("name")` and declare their fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raise it when `build` or `train` give other weights than before: stored models of the old code stay apart."""
    bases: ClassVar[tuple[str, ...]]
    """Names of the base models that `build` and `train` know."""
    class_names: ClassVar[tuple[str, ...]]
    """What a label index means."""

    @abstractmethod
    def build(self, base: str) -> nn.Module:
        """Make a base model's architecture with untrained weights, in evaluation mode, on the CPU."""

    @abstractmethod
    def train(self, base: str, seed: int) -> nn.Module:
        """Make and train a base model on the train split only; the same seed gives the same weights."""

    @abstractmethod
    def data(self, split: Split) -> Data:
        """The instances of one split, in a fixed order."""

    @abstractmethod
    def instances(self) -> pa.Table:
        """The evaluation instances as rows of `schema.INSTANCES`, shown as PNG or text."""

    @abstractmethod
    def data_fingerprint(self) -> str:
        """A hash over the data of all splits."""

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Unnormalised class scores, (n, classes), of any model of this task."""
        outputs = model(inputs)
        return outputs if isinstance(outputs, Tensor) else outputs.logits

    @property
    def task_id(self) -> str:
        """Fingerprint of the task: its name, version, fields and data. Part of every model's identity."""
        return identity("task", self.name, self.version, self.model_dump(mode="json"), self.data_fingerprint())

    def to_json(self) -> dict[str, Any]:
        """Plain data that `task_from_json` reads back."""
        return {"task": self.name, "parameters": self.model_dump(mode="json")}


tasks: Final[Registry[type[Task]]] = Registry("cc_ray.tasks", "cc_ray.tasks", UnknownTaskError)


def task(name: str) -> Any:
    """Register a `Task` under its name."""

    def add(kind: type[Task]) -> type[Task]:
        kind.name = name
        return tasks.register(name)(kind)

    return add


def task_from_json(data: dict[str, Any]) -> Task:
    """Read what `Task.to_json` wrote.

    Raises:
        UnknownTaskError: If no such task is registered.
        InvalidRecipeError: If a field does not fit.
    """
    kind = tasks[data["task"]]
    try:
        return kind.model_validate(data.get("parameters", {}))
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, d['loc']))}={d['input']!r}: {d['msg'].lower()}" for d in error.errors())
        raise InvalidRecipeError(f"task '{data['task']}': {said}.") from error


def one_thread() -> None:
    """Use one torch thread in this process: more of them fight over cores when steps run side by side."""
    torch.set_num_threads(1)
