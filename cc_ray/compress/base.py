"""What an operation is: frozen, validated fields plus `apply`.

The fields are the single source of validation, JSON, the legend on the screen and the reference table in the docs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from cc_ray.errors import UnknownOperationError
from cc_ray.registry import Registry
from cc_ray.tasks import Task

Representation = Literal["float", "simulated", "quantized"]
"""How weights are held: as trained; on a low-bit grid but in float arithmetic; in a low-bit type that computes."""

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
"""A share in [0, 1)."""


@dataclass(frozen=True)
class Finding:
    """Something a check noticed; becomes a row of `schema.FINDINGS`."""

    check: str
    severity: Literal["info", "warning", "error"]
    message: str
    layer: str = ""
    expected: float | None = None
    found: float | None = None


@dataclass
class Context:
    """What an operation may use besides the model that it is given, and where it leaves word of what it did."""

    task: Task
    """Gives training and calibration data; the evaluation split is not for operations."""
    seed: int
    """Seeds every random choice of the operation."""
    ancestor: Callable[[int], nn.Module]
    """The model after k steps of the same recipe; 0 is the base model. A fresh copy, the caller's own."""
    findings: list[Finding] = field(default_factory=list)
    """What the operation noticed; checks add to it."""
    donors: list[int] = field(default_factory=list)
    """Step indices of the ancestors whose weights were taken."""


class Operation(BaseModel, ABC):
    """A kind of compression. Subclasses are registered with `@operation("name")`, one a file.

    A subclass's module docstring says in its first line what it does, and names its source in a line `Source: ...`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raise it when the same fields give other weights than before: stored models of the old code stay apart."""
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float"})
    """Representations of the models that it can work on; checked before anything runs."""
    gives: ClassVar[Representation | None] = None
    """Representation of the model that it makes; None leaves it as it was."""

    @abstractmethod
    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Compress the model.

        Args:
            model: A private copy, in evaluation mode on the CPU; may be changed in place and returned.
            context: Data, seed, ancestors; takes findings.

        Returns:
            The compressed model, in evaluation mode.
        """


operations: Final[Registry[type[Operation]]] = Registry("cc_ray.compress", "cc_ray.operations", UnknownOperationError)


def operation(name: str) -> Any:
    """Register an `Operation` under its name."""

    def add(kind: type[Operation]) -> type[Operation]:
        kind.name = name
        return operations.register(name)(kind)

    return add
