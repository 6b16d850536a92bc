"""What a task is: a model family, the data it is trained and judged on, and how an instance is shown.

A task is frozen data (its fields) plus the methods below. Its training, calibration and evaluation instances are
disjoint; operations ask for a split by name, so that what they used is known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self, get_args

import pyarrow as pa
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from cc_ray.errors import InvalidRecipeError, UnknownTaskError
from cc_ray.noise import silence
from cc_ray.recipe import identity
from cc_ray.registry import Registry
from cc_ray.resources import Resources
from cc_ray.store.exported import Program

# Tasks import transformers, which imports torchao.
silence()

Split = Literal["train", "calibration", "evaluation"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)

_used: Final[ContextVar[set[Split] | None]] = ContextVar("used", default=None)


@contextmanager
def splits_used() -> Iterator[set[Split]]:
    """Which splits any task is asked for, by `data` or `instances`, in this thread while the block runs."""
    used: set[Split] = set()
    token = _used.set(used)
    try:
        yield used
    finally:
        _used.reset(token)


@dataclass(frozen=True)
class Data:
    """The instances of one split, on the CPU."""

    inputs: Tensor
    """Model inputs, (n, ...): pixels or columns as floats, tokens as int64 padded to one length."""
    labels: Tensor
    """What is right, (n, ...): in classification the index of the true class, (n,), int64; in regression the true
    number, (n,), float; of other answers as their kind has it."""
    instances: Tensor
    """Identity of each instance within the task, (n,), int64; no identity is in two splits."""

    def __len__(self) -> int:
        return len(self.labels)


class Task(BaseModel, ABC):
    """What is solved, by default classification. Subclasses are registered with `@task("name")` and declare fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raise it when `build` or `train` give other weights than before: stored models of the old code stay apart."""
    answers: ClassVar[str] = "classes"
    """The kind of answers that its models give: a file of `evaluate/answers/`, which says what it asks of a task."""
    resources: ClassVar[Resources] = Resources()
    """What a step of the task asks of the cluster, where neither its operation nor the search space says otherwise."""
    repeatable: ClassVar[bool] = True
    """Whether a GPU can compute all that its models do with the same bits each time. Where torch knows no such way, a
    step on a GPU fails and says so; with False it goes on, and there the same seed gives other weights each time."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """See to it that what the subclass reads is seen by `splits_used`, and that exported programs answer whole."""
        super().__pydantic_init_subclass__(**kwargs)
        for name, seen in _SEEN.items():
            if name in vars(cls):
                setattr(cls, name, seen(vars(cls)[name]))

    @property
    @abstractmethod
    def bases(self) -> tuple[str, ...]:
        """Names of the base models that `build` and `train` know; a class variable where no field decides them."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """What a label index means; a class variable where no field decides it. Empty except in classification."""

    @property
    def at_once(self) -> int:
        """How many instances its models are asked about at a time, at most; fewer where outputs are large."""
        return 256

    @classmethod
    def example(cls, folder: Path) -> Self:
        """A small instance that needs no network, for the conformance suite: one without fields, if not overridden.

        Args:
            folder: Empty; takes the files that the instance reads.
        """
        return cls()

    @abstractmethod
    def build(self, base: str) -> nn.Module:
        """Make a base model's architecture with untrained weights, in evaluation mode, on the CPU."""

    @abstractmethod
    def train(self, base: str, seed: int) -> nn.Module:
        """Make and train a base model on the train split only; the same seed gives the same weights.

        `training.train` works on the GPU that the step holds; a loop of your own does inside of `moved(model)`.

        Returns:
            The model, in evaluation mode, on the CPU.
        """

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
        """What any model of this task puts out, (n, ...): in classification unnormalised class scores, (n, classes)."""
        outputs = model(inputs)
        return outputs if isinstance(outputs, Tensor) else outputs.logits

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """What training makes small and gradients are taken of, a differentiable scalar: the mean over a batch.

        Args:
            model: Any model of this task, on the device of the batch.
            inputs: As in `Data`, (n, ...).
            labels: As in `Data`, (n, ...).

        Returns:
            By default the cross entropy, of class scores (n, classes) with labels (n,).
        """
        return nn.functional.cross_entropy(self.logits(model, inputs), labels)

    def places(self, inputs: Tensor) -> Sequence[Tensor]:
        """Which places of the sequences that a model reads of a batch are real, and not padding.

        Layers that take in an instance place by place are measured at the real ones. Models of several sequences have
        several answers, which are told apart by their lengths.

        Args:
            inputs: As in `Data`, (n, ...).

        Returns:
            Each (n, length), bool, on the device of the inputs; by default none: all that layers take in is real.
        """
        return ()

    @property
    def task_id(self) -> str:
        """Fingerprint of the task: its name, version, fields and data. Part of every model's identity."""
        return identity("task", self.name, self.version, self.identifying(), self.data_fingerprint())

    def identifying(self) -> dict[str, Any]:
        """The fields that make it another task, as plain data; all, if not overridden.

        Where files lie makes no other task: what they hold is in the fingerprint of the data.
        """
        return self.model_dump(mode="json")

    def to_json(self) -> dict[str, Any]:
        """Plain data that `task_from_json` reads back."""
        return {"task": self.name, "parameters": self.model_dump(mode="json")}


def _seen_data(data: Callable[[Task, Split], Data]) -> Callable[[Task, Split], Data]:
    @wraps(data)
    def read(self: Task, split: Split) -> Data:
        note_use(split)
        return data(self, split)

    return read


def _seen_instances(instances: Callable[[Task], pa.Table]) -> Callable[[Task], pa.Table]:
    @wraps(instances)
    def read(self: Task) -> pa.Table:
        note_use("evaluation")
        return instances(self)

    return read


def _or_program(logits: Callable[[Task, nn.Module, Tensor], Tensor]) -> Callable[[Task, nn.Module, Tensor], Tensor]:
    # A program that a model was exported to holds all that its task does around it.
    @wraps(logits)
    def answered(self: Task, model: nn.Module, inputs: Tensor) -> Tensor:
        return model(inputs) if isinstance(model, Program) else logits(self, model, inputs)

    return answered


def _unseen(fingerprint: Callable[[Task], str]) -> Callable[[Task], str]:
    # Whoever asks for the fingerprint of all data has not used it.
    @wraps(fingerprint)
    def read(self: Task) -> str:
        with splits_used():
            return fingerprint(self)

    return read


def note_use(split: Split) -> None:
    """Tell `splits_used` of a split; for what others found on it, and an operation goes by."""
    if (used := _used.get()) is not None:
        used.add(split)


_SEEN: Final[dict[str, Callable[[Any], Any]]] = {
    "data": _seen_data,
    "instances": _seen_instances,
    "data_fingerprint": _unseen,
    "logits": _or_program,
}


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


def use_threads(count: int) -> None:
    """Use so many torch threads in this process: more than its share of cores fight over them."""
    torch.set_num_threads(count)
