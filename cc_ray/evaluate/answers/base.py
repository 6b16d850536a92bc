"""What a model's answers are: arrays with an entry an instance, a way to ask for them, and rows that hold them.

A task names the kind of its answers (`Task.answers`); a kind is registered by `@answers("name")`, one a file. Metrics
say which kinds they are taken from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final, Self, TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cc_ray.errors import UnknownAnswersError
from cc_ray.registry import Registry
from cc_ray.schema import PREDICTIONS
from cc_ray.tasks import Data, Task

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Objects = NDArray[np.object_]

BATCH_SIZE: Final = 256
"""Instances whose answers are written down at a time."""


@dataclass(frozen=True)
class Answers(ABC):
    """A model's answers, one entry an instance. Each field is an array whose first axis is the instances, or None."""

    compared_by: ClassVar[tuple[str, ...]] = ()
    """Columns of the rows of two models from which `compared` tells how far apart they are."""
    asks_others: ClassVar[bool] = False
    """Whether `ask` is to be given the base model and the parent: what it compares is too large to be kept."""

    instances: Integers
    """Identity of each instance, (n,)."""

    @classmethod
    @abstractmethod
    def ask(cls, task: Task, model: nn.Module, batch: Data, others: Mapping[str, nn.Module]) -> Self:
        """Ask a model about a batch; gradients are off.

        Args:
            task: Knows how the model is called.
            model: In evaluation mode, on the device of the inputs.
            batch: Its inputs are on the model's device, the rest is on the CPU.
            others: The model's `base` and `parent`, on the same device; empty unless `asks_others`, or for a base
                model.
        """

    @property
    @abstractmethod
    def outputs(self) -> Tensor:
        """What the model put out, (n, ...): what the SQNR of outputs is taken of."""

    @property
    def correct(self) -> Flags | None:
        """Whether each answer is right, (n,); None where answers are not right or wrong."""
        return None

    @abstractmethod
    def columns(self) -> dict[str, Any]:
        """Columns of `schema.PREDICTIONS` without `model_id` and `instance`; None for those that are unknown."""

    def table(self, model_id: str) -> pa.Table:
        """Rows of `schema.PREDICTIONS`; what the kind does not know is left out."""
        types = PREDICTIONS.schema
        held = {"instance": self.instances, **self.columns()}
        columns = {
            name: values if isinstance(values, pa.Array) else pa.array(values, types.field(name).type)
            for name, values in held.items()
            if values is not None
        }
        return pa.table({"model_id": pa.array([model_id] * len(self.instances), pa.string()), **columns})

    @classmethod
    def compared(cls, rows: pa.Table, *, base: pa.Table | None, parent: pa.Table | None) -> pa.Table:
        """Add how far each answer lies from the base model's and the parent's.

        Args:
            rows: What `table` gave.
            base: Rows of the base model with `instance` and the columns of `compared_by`; None for a base model.
            parent: Those of the parent.
        """
        return rows

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The answers of several batches as one."""
        if len(parts) == 1:
            return parts[0]
        held = {each.name: [getattr(part, each.name) for part in parts] for each in fields(cls)}
        joined: dict[str, Any] = {
            name: None if values[0] is None else np.concatenate(values) for name, values in held.items()
        }
        return cls(**joined)

    def chosen(self, places: NDArray[Any]) -> Self:
        """The answers at some places, or in another order, (m,)."""
        held = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(self, **{name: values[places] for name, values in held.items() if values is not None})

    def parts(self) -> Iterator[Self]:
        """These answers in order of instance, `BATCH_SIZE` at a time."""
        order = np.argsort(self.instances)
        for start in range(0, len(order), BATCH_SIZE):
            yield self.chosen(order[start : start + BATCH_SIZE])


Kind = TypeVar("Kind", bound=type[Answers])

kinds: Final[Registry[type[Answers]]] = Registry("cc_ray.evaluate.answers", "cc_ray.answers", UnknownAnswersError)


def answers(name: str) -> Callable[[Kind], Kind]:
    """Register a kind of answers under the name that tasks call it by."""

    def add(kind: Kind) -> Kind:
        kinds.register(name)(kind)
        return kind

    return add


def kind_of(task: Task | type[Task]) -> type[Answers]:
    """The kind of a task's answers.

    Raises:
        UnknownAnswersError: If nobody registered it.
    """
    return kinds[task.answers]


def on_cpu(values: Tensor) -> NDArray[Any]:
    """Numbers of a model as an array: of half precision as single, else as they are."""
    values = values.detach().cpu()
    found: NDArray[Any] = values.to(torch.promote_types(values.dtype, torch.float32)).numpy()
    return found
