"""What the dashboard may do besides asking: run studies, as whoever serves it does it for it.

The dashboard knows these words and no more: no cluster, no store that it could write to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

Values = tuple[Any, ...]
"""Those of one parameter, plain data or `Stored`; each makes a model of its own."""


@dataclass(frozen=True)
class Stored:
    """In place of a value: the store has it, and it is looked up when a branch is planned."""

    call: str
    """As it was typed, such as `rows_of('loss')`."""


Place = tuple[int, str]
"""Number of a step, from 0, and name of one of its parameters; the name is empty where the step itself is meant."""
WHOLE = -1
"""In place of a step's number: the recipe as a whole."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operation."""

    name: str
    type: Literal["number", "integer", "boolean", "string", "array", "object"]
    meaning: str
    required: bool
    default: Any
    """None where it is required."""
    allowed: str
    """Its bounds in words; empty where there are none."""
    options: tuple[str, ...] = ()
    """All values that there are, as they are written; empty where there may be any."""
    items: str = "string"
    """The type of what an array holds."""
    stored: str = ""
    """What its value may be looked up with, such as `rows_of`; empty where it has to be typed."""


@dataclass(frozen=True)
class Operation:
    """What can be done to a model."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class Step:
    """One step to do; of several values each makes a model."""

    operation: str
    values: Mapping[str, Values] = field(default_factory=dict)
    """By parameter; those left out have their default."""


@dataclass(frozen=True)
class Branch:
    """Steps to do to models of the store, in order."""

    models: tuple[str, ...]
    steps: tuple[Step, ...]
    seeds: tuple[int, ...] = ()
    """None keeps the models' own."""
    name: str = ""
    """Of the study; empty lets one be made."""


@dataclass(frozen=True)
class Cost:
    """What the steps of one operation take."""

    operation: str
    steps: int
    to_make: int
    step_s: float
    known: bool
    """It is estimated from earlier steps, not from a default."""


@dataclass(frozen=True)
class Planned:
    """What a branch would take, or what is wrong with it."""

    problems: Mapping[Place, str] = field(default_factory=dict)
    """In words, by place; the rest says nothing where there is one."""
    study: str = ""
    """What the study will be called."""
    trials: int = 0
    models: int = 0
    """Distinct ones that the recipes need, those on the way there included."""
    known: int = 0
    to_make: int = 0
    estimated_s: float = 0.0
    estimated_bytes: int = 0
    gpu_hours: float = 0.0
    """0 where no step asks for a GPU."""
    costs: tuple[Cost, ...] = ()
    command: str = ""
    """What does the same in a terminal."""


@dataclass(frozen=True)
class Job:
    """The process that a study runs in, where it was started from a dashboard or sent to the cluster."""

    name: str
    state: str
    """pending, running, finished, failed or stopped."""
    started_at: datetime | None
    reason: str = ""
    """Why it failed without a word of its own."""

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state not in ("pending", "running")


@dataclass(frozen=True)
class Node:
    """A machine of the cluster."""

    name: str
    state: str
    used: Mapping[str, float]
    """By resource: CPU, GPU, memory (bytes) and those of its own."""
    total: Mapping[str, float]


@dataclass(frozen=True)
class Running:
    """A step that a worker does now."""

    kind: str
    """step or latency."""
    name: str
    node: str
    running_s: float


@dataclass(frozen=True)
class Waiting:
    """Work that waits for resources."""

    asks: str
    """For what, in words."""
    count: int


@dataclass(frozen=True)
class Cluster:
    """What the cluster of the dashboard has and does."""

    nodes: tuple[Node, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    running: tuple[Running, ...] | None = None
    """None where no study of this store runs on it."""
    problem: str = ""
    """Why it cannot be told; the rest is empty then."""


class Runs(Protocol):
    """What can be known of studies beside what the store says. Everything may take a while: not for the event loop."""

    def job(self, study: str) -> Job | None:
        """The last job of a study; None where none is known."""

    def log(self, study: str) -> str:
        """What it has written; empty where none is known.

        Raises:
            CcRayError: If it cannot be read.
        """

    def cluster(self) -> Cluster:
        """The cluster as it was a moment ago, the same for all who ask."""


class Operator(Runs, Protocol):
    """What operators may do; `by` is who does it, as the store will say."""

    def operations(self) -> Sequence[Operation]:
        """All that can be done to a model, in order of name."""

    def plan(self, branch: Branch) -> Planned:
        """Check a branch and tell what it would take."""

    def start(self, branch: Branch, by: str) -> str:
        """Start a branch as a job of its own; returns the name of its study.

        Raises:
            CcRayError: If it cannot run, its name is taken, or nothing runs it.
        """

    def resume(self, study: str, by: str, *, retry_failed: bool = False) -> None:
        """Start a study of the store again, which goes on with what it lacks.

        Raises:
            CcRayError: If it cannot be gone on with.
        """

    def stop(self, study: str, by: str, trial: str | None = None) -> None:
        """Stop a study or one of its trials; what is published stays.

        Raises:
            CcRayError: If the store or the job cannot be reached.
        """
