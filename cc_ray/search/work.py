"""The words in which a trial, the actor and the workers speak of steps: plain data that travels between machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ray import ObjectRef
from ray.exceptions import OutOfMemoryError

from cc_ray.recipe import BASE_STEP, Recipe, identity
from cc_ray.resources import Resources
from cc_ray.search.early_stopping import Contest
from cc_ray.search.needs import LATENCY, Needs

Kind = Literal["step", "latency"]
Key = tuple[Kind, str]
"""Kind of batch and model."""

NAMESPACE: Final = "cc-ray"
"""Where Ray knows the actors of stores."""
MEMORY: Final = (
    "Where steps need more memory than there is, let them ask for theirs by `resources` of the search space "
    "(`memory_bytes`), so that fewer run at once, or add a larger machine."
)


@dataclass(frozen=True)
class Job:
    """What a trial needs done; plain data, so that workers need no search-space file."""

    root: str
    """Folder or URL of the store."""
    task: Mapping[str, Any]
    """What `Task.to_json` gave."""
    task_id: str
    recipe: Recipe
    """Canonical."""
    study_id: str
    session: str
    """Names one call of `explore`: what failed in it is not tried again within it."""
    needs: Needs = field(default_factory=dict)
    """What its steps ask for, by operation; one CPU where an operation is not named."""
    time_limit_s: float | None = None
    """A step that takes longer is ended and fails."""
    contest: Contest | None = None
    """Decides about the last step while it is under way; None has it made to the end."""

    def may_stop(self, kind: Kind, index: int) -> bool:
        """Whether a piece of its work may be ended because it does badly."""
        return self.contest is not None and kind == "step" and 0 < index == len(self.recipe.steps)

    def asked(self, kind: Kind, index: int) -> Resources:
        """What a piece of its work asks for."""
        step = self.recipe.steps[index - 1].operation if index else BASE_STEP
        return self.needs.get(LATENCY if kind == "latency" else step, Resources())


@dataclass(frozen=True)
class Outcome:
    """How one piece of work ended: its batch is in the store, or a step failed or was stopped early."""

    failed_step: str = ""
    """The step that failed or was stopped, this one or one before it; empty where nothing was."""
    reason: str = ""
    """Why, in one line."""
    duration_s: float = 0.0
    """How long it took, where it was executed."""
    stopped: str = ""
    """The model whose step was stopped early; empty where it failed."""
    unavailable: bool = False
    """It failed because the store could not be used, which is no fault of the recipe."""


@dataclass(frozen=True)
class Ticket:
    """One piece of a trial's work, as the actor hands it out."""

    kind: Kind
    index: int
    """Number of steps from the base model."""
    made: bool
    """It was started for this request."""
    work: ObjectRef | Outcome
    """The running task, or the outcome where it is known already."""


@dataclass(frozen=True)
class Chain:
    """How the work of one trial ended."""

    made: int
    """Models that were made at this trial's request."""
    reused: int
    """Models that were in the store, or in the making for another trial."""
    failure: Outcome | None = None
    """The first piece of work that failed."""
    cpu_s: float = 0.0
    """Time that work at this trial's request held CPUs, times their number."""
    gpu_s: float = 0.0
    """The same of GPUs."""

    @property
    def state(self) -> str:
        """Of the trial: finished, failed or stopped (early)."""
        if self.failure is None:
            return "finished"
        return "stopped" if self.failure.stopped else "failed"


@dataclass(frozen=True)
class Beat:
    """How the work of a session stands, as the actor tells it."""

    ready: int = 0
    """Tasks that wait for no other task: the cluster runs as many of them as it has CPUs."""
    made: tuple[str, ...] = ()
    """Models that were made for the session since it was last asked."""


@dataclass(frozen=True)
class Running:
    """A piece of work that a worker does now."""

    kind: Kind
    name: str
    """The step, as a person reads it."""
    node_id: str
    """Ray's identity of the machine."""
    running_s: float
    """For how long."""


def actor_name(root: str) -> str:
    """Name of the steps' actor of a store."""
    return f"steps-{identity(root)}"


def one_line(error: Exception) -> str:
    """What Ray says of work that it lost, for people."""
    if isinstance(error, OutOfMemoryError):
        return f"the memory of its machine ran out. {MEMORY}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
