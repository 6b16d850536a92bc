"""How far a study is: plain figures for whoever draws them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Best:
    """The best value of one objective so far, over the models that finished trials end in."""

    metric: str
    """Name of the metric."""
    direction: str
    """Which values are better: higher or lower."""
    value: float
    """The value, in the metric's unit."""
    model_id: str
    """The model that has it."""
    name: str
    """The model's recipe as a person reads it."""


@dataclass(frozen=True)
class Progress:
    """One moment of a running study."""

    study_id: str
    """The study."""
    trials_total: int = 0
    """Trials of the study, those of earlier sessions included."""
    trials_done: int = 0
    """Trials that are finished, those of earlier sessions included."""
    trials_failed: int = 0
    """Trials with a step that failed."""
    trials_stopped: int = 0
    """Trials that were stopped early because their models did badly, those of earlier sessions included."""
    trials_running: int = 0
    """Trials that wait for their steps."""
    models_total: int = 0
    """Models that the trials known so far need: every distinct one once."""
    models_done: int = 0
    """Models made in this session."""
    models_reused: int = 0
    """Models that were in the store when this session came to them."""
    models_failed: int = 0
    """Steps that failed in this session; what follows from them is not attempted."""
    models_running: int = 0
    """Steps being worked on now: a model made and measured, or timed."""
    best: Mapping[str, Best] = field(default_factory=dict)
    """Best value so far by objective; an objective is missing until a trial has it."""
    hypervolume: float | None = None
    """Of the study's models so far, as `compare.hypervolume` has it; null until a base model is known."""
    unchanged: int = 0
    """Trials since the hypervolume last grew, in this session."""
    cpu_hours: float = 0.0
    """Hours that the study's steps have held CPUs, times their number, over all its sessions."""
    gpu_hours: float = 0.0
    """The same of GPUs."""
    waits_for: str = ""
    """Why nothing is done, where a node has to come first."""
    elapsed_s: float = 0.0
    """Time since the session began."""
    remaining_s: float | None = None
    """Estimate of the time left; null while there is nothing to judge it by."""


@dataclass(frozen=True)
class Failure:
    """A trial that failed."""

    trial_id: str
    """Identity of the trial."""
    recipe: str
    """Its recipe as a person reads it."""
    step: str
    """The step that failed, as a person reads it."""
    reason: str
    """Why, in one line."""


@dataclass(frozen=True)
class StudySummary:
    """What one call of `explore` came to."""

    study_id: str
    """The study."""
    state: str
    """finished, or stopped (by the user or its time budget; the next call goes on)."""
    progress: Progress
    """The figures at the end."""
    failures: tuple[Failure, ...] = ()
    """Trials of the study that failed, those of earlier sessions included."""
    reason: str = ""
    """Why it stopped."""
    interrupted: bool = False
    """Somebody stopped it, by Ctrl-C or SIGTERM; else it ended as its space says."""
