"""What an operation is: frozen, validated fields plus `apply`.

The fields are the single source of validation, JSON, the legend on the screen and the reference table in the docs.
"""

from __future__ import annotations

import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from cc_ray.errors import UnknownOperationError
from cc_ray.registry import Registry
from cc_ray.resources import Resources
from cc_ray.tasks import Split, Task

Representation = Literal["float", "simulated", "quantized", "exported"]
"""How weights are held: as trained; on a low-bit grid but in float arithmetic; in a low-bit type that computes; in a
file for the world outside, which no operation changes any more."""

Family = Literal["pruning", "quantization", "weight sharing", "low rank", "structure", "recovery", "export"]
"""What kinds of operations there are, in the order in which they are listed."""

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
    """Gives training and calibration data; the evaluation split is not for operations. What is read is recorded."""
    seed: int
    """Seeds every random choice of the operation."""
    ancestor: Callable[[int], nn.Module]
    """The model after k steps of the same recipe; 0 is the base model. A fresh copy, the caller's own."""
    findings: list[Finding] = field(default_factory=list)
    """What the operation noticed; checks add to it."""
    donors: list[int] = field(default_factory=list)
    """Step indices of the ancestors whose weights were taken."""
    teachers: list[int] = field(default_factory=list)
    """Step indices of the ancestors whose answers were learnt from."""
    kept: dict[str, list[list[int]]] = field(default_factory=dict)
    """Of tensors that lost channels, by name: for each axis the parent's indices that are left."""
    after_epoch: Callable[[nn.Module, int], None] | None = None
    """Where it is there: to be called with the model after each epoch of training, and the number of epochs so far. It
    leaves the model as it is, and may raise to end the step."""


class Operation(BaseModel, ABC):
    """A kind of compression. Subclasses are registered with `@operation("name")`, one a file.

    A subclass's module docstring says in its first line what it does, and names its source in a line `Source: ...`.

    Fields of these names make claims that are checked after every application: `sparsity` (share of zeros in the
    targeted weights) and `bits` (bit width of the targeted weights).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    name: ClassVar[str]
    family: ClassVar[Family | None] = None
    """Under which it is listed; the conformance suite asks for one."""
    version: ClassVar[int] = 1
    """Raise it when the same fields give other weights than before: stored models of the old code stay apart."""
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float"})
    """Representations of the models that it can work on; checked before anything runs."""
    gives: ClassVar[Representation | None] = None
    """Representation of the model that it makes; None leaves it as it was."""
    works_on: ClassVar[str] = "any model"
    """What a model must have, in a few words."""
    reads: ClassVar[tuple[Split, ...]] = ()
    """The splits of the task's data that it may read; the conformance suite sees whether that is all."""
    reshapes: ClassVar[bool] = False
    """Whether the models that it makes may have other layers, or tensors of other shapes, than their parents."""
    realised_on: ClassVar[frozenset[str]] = frozenset({"cpu", "cuda"})
    """Kinds of devices on which models run in the form that it saves; elsewhere, and where it is empty, the saving is
    simulated: values are those of the compressed form, arithmetic and memory those of floats."""

    resources: ClassVar[Resources | None] = None
    """What a step asks of the cluster; None takes the task's. A search space may ask for other ones."""
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    """Parameters that work on an ordinary model: for the documentation and the conformance suite."""

    @abstractmethod
    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Compress the model.

        Where it is fed with data, `tasks.moved(model)` lets it work on the GPU that the step holds.

        Args:
            model: A private copy, in evaluation mode on the CPU; may be changed in place and returned.
            context: Data, seed, ancestors; takes findings.

        Returns:
            The compressed model, in evaluation mode, on the CPU.

        Raises:
            NotApplicableError: If the model has nothing that the operation could work on.
        """

    def suit(self, model: nn.Module) -> None:
        """Make sure that a model of this architecture has something to work on.

        Looks at kinds, names and shapes of layers, never at values: it is asked of untrained base models before any
        trial starts, and of the real one before `apply`.

        Args:
            model: Left as it is.

        Raises:
            NotApplicableError: If it has nothing.
        """
        return None

    def ancestors(self) -> tuple[int, ...]:
        """Step indices of the ancestors that `apply` asks for; each is smaller than the operation's own parent's."""
        return ()

    def makes(self, given: Representation) -> Representation:
        """Representation of the child of a model that is held as `given`."""
        return self.gives or given

    def runs_on(self) -> frozenset[str]:
        """Kinds of devices on which its child runs in the form that is saved."""
        return self.realised_on

    def check(self, parent: nn.Module, child: nn.Module) -> Iterable[Finding]:
        """What else to say about the child; runs with the checks that every operation gets."""
        return ()

    @classmethod
    def summary(cls) -> str:
        """What it does: the first line of its file's docstring."""
        return _file_docstring(cls).partition("\n")[0]

    @classmethod
    def source(cls) -> str:
        """Where it comes from: the `Source:` paragraph of its file's docstring; empty if there is none."""
        paragraph = _file_docstring(cls).partition("Source:")[2].partition("\n\n")[0]
        return " ".join(paragraph.split())


def _file_docstring(kind: type) -> str:
    return inspect.getdoc(sys.modules[kind.__module__]) or ""


operations: Final[Registry[type[Operation]]] = Registry("cc_ray.compress", "cc_ray.operations", UnknownOperationError)


def operation(name: str) -> Any:
    """Register an `Operation` under its name."""

    def add(kind: type[Operation]) -> type[Operation]:
        kind.name = name
        return operations.register(name)(kind)

    return add
