"""What running a search space would take, before anything runs."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cc_ray.recipe import BASE_STEP, Recipe
from cc_ray.search.agenda import Agenda, take_stock
from cc_ray.search.needs import needs_of
from cc_ray.search.records import Holdings
from cc_ray.search.sampling import operations_of
from cc_ray.search.space import SearchSpace
from cc_ray.store import Store

DEFAULT_STEP_S: Final = 1.0
"""Taken for a step whose operation the store has not seen."""
DEFAULT_LATENCY_S: Final = 0.8
"""Taken for the timing of a model where the store has seen none."""
DEFAULT_BYTES: Final = 500_000
"""Taken for a model with its rows where the store has not seen the operation."""
_LAST: Final = 20
"""Sizes of so many models of an operation are looked up."""
START_S: Final = 10.0
"""What starting a local cluster and its workers takes."""


@dataclass(frozen=True)
class OperationPlan:
    """The steps of one operation."""

    operation: str
    steps: int
    """Distinct steps of this operation in the space."""
    to_run: int
    """Those that the next run executes."""
    step_s: float
    """Expected time of one, measuring and timing included."""
    step_bytes: int
    """Expected bytes of one model with its rows."""
    known: bool
    """Expectations are medians of what the store holds, not defaults."""


@dataclass(frozen=True)
class Plan:
    """What the next run of a search space does."""

    study_id: str
    trials: int
    """Trials of the whole study."""
    trials_to_run: int
    """Trials that the next run runs; failed ones are not tried again unless asked for."""
    steps: int
    """Models that the recipes need, each recipe by itself, base models included."""
    unique_steps: int
    """Distinct models that the recipes need."""
    shared: int
    """Steps that recipes share with others: `steps` less `unique_steps`."""
    known: int
    """Distinct models that are in the store."""
    to_run: int
    """Steps that the next run executes."""
    estimated_s: float
    """Expected time of the next run on this machine."""
    estimated_bytes: int
    """Expected growth of the store."""
    gpu_hours: float
    """Hours that its steps are expected to hold GPUs, times their number, without timing."""
    by_operation: tuple[OperationPlan, ...]
    """In order of operation; `train base` are the base models."""
    stops_early: bool
    """Trials may be stopped early: the expectations are the most that it takes."""
    exact: bool
    """False where the search decides on the way: recipes taken by lot stand in for its choice."""


def plan(space: SearchSpace, store: Store | None, *, retry_failed: bool = False) -> Plan:
    """Check a search space and tell what running it would take.

    Args:
        space: The search space.
        store: Where its models would go; None where there is no store yet.
        retry_failed: Failed trials are to be run again.

    Raises:
        InvalidRecipeError: If the space holds a recipe that cannot run.
        UnknownOperationError: If an operation is not registered.
        UnknownTaskError: If the task is not registered.
    """
    return plan_agenda(take_stock(space, store, retry_failed=retry_failed), store)


def plan_agenda(agenda: Agenda, store: Store | None) -> Plan:
    """Tell what an agenda takes."""
    to_run = agenda.expected()
    recipes = (*agenda.finished, *(state.recipe for state in (*agenda.failed, *agenda.stopped)), *to_run)
    task_id = agenda.task.task_id
    models = _models(recipes, task_id)
    known = agenda.held.made.intersection(models)
    missing = {model_id: models[model_id] for model_id in _models(to_run, task_id) if model_id not in known}
    seen = _Seen(store, agenda.held)
    by_operation = tuple(_operation(name, models, missing, seen) for name in sorted(set(models.values())))
    steps = sum(len(recipe.steps) + 1 for recipe in recipes)
    untimed = _models(to_run, task_id).keys() - agenda.held.timed
    return Plan(
        study_id=agenda.space.name,
        trials=agenda.total,
        trials_to_run=agenda.count,
        steps=steps,
        unique_steps=len(models),
        shared=steps - len(models),
        known=len(known),
        to_run=len(missing),
        estimated_s=_wall_s(by_operation, len(untimed), seen),
        estimated_bytes=sum(entry.to_run * entry.step_bytes for entry in by_operation),
        gpu_hours=_gpu_hours(by_operation, agenda.space),
        by_operation=by_operation,
        stops_early=agenda.space.early_stopping is not None,
        exact=not agenda.space.guided,
    )


class _Seen:
    """Medians of what the last steps took, by operation."""

    def __init__(self, store: Store | None, held: Holdings) -> None:
        self._step_s: dict[str, list[float]] = {}
        self._bytes: dict[str, list[int]] = {}
        self._latency_s: list[float] = []
        if store:
            self._read(store, held)

    def step_s(self, operation: str) -> float | None:
        return statistics.median(self._step_s[operation]) if operation in self._step_s else None

    def step_bytes(self, operation: str) -> int | None:
        return int(statistics.median(self._bytes[operation])) if operation in self._bytes else None

    @property
    def latency_s(self) -> float:
        return statistics.median(self._latency_s) if self._latency_s else DEFAULT_LATENCY_S

    def _read(self, store: Store, held: Holdings) -> None:
        operations = {}
        models = store.read("models").sort_by([("created_at", "descending")])
        for row in models.select(["model_id", "operation", "artifact"]).to_pylist():
            if row["model_id"] not in held.made:
                continue  # Imported, many in one batch: no step of ours made it.
            operation = operations[row["model_id"]] = row["operation"] or BASE_STEP
            sizes = self._bytes.setdefault(operation, [])
            if len(sizes) < _LAST:
                sizes.append(_bytes(store, row["model_id"], row["artifact"]))
        for run in store.read("step_runs").to_pylist():
            if run["outcome"] == "published" and run["kind"] == "latency":
                self._latency_s.append(run["duration_s"])
            elif run["outcome"] == "published" and run["model_id"] in operations:
                self._step_s.setdefault(operations[run["model_id"]], []).append(run["duration_s"])


def _models(recipes: Iterable[Recipe], task_id: str) -> dict[str, str]:
    """Operation by model."""
    return {
        model_id: recipe.steps[index - 1].operation if index else BASE_STEP
        for recipe in recipes
        for index, model_id in enumerate(recipe.model_ids(task_id))
    }


def _operation(name: str, models: dict[str, str], missing: dict[str, str], seen: _Seen) -> OperationPlan:
    step_s, step_bytes = seen.step_s(name), seen.step_bytes(name)
    return OperationPlan(
        operation=name,
        steps=sum(1 for operation in models.values() if operation == name),
        to_run=sum(1 for operation in missing.values() if operation == name),
        step_s=DEFAULT_STEP_S if step_s is None else step_s,
        step_bytes=DEFAULT_BYTES if step_bytes is None else step_bytes,
        known=step_s is not None,
    )


def _wall_s(by_operation: Iterable[OperationPlan], untimed: int, seen: _Seen) -> float:
    """Steps share the CPUs; models are timed one after the other; nothing to do takes no time."""
    steps_s = sum(entry.to_run * entry.step_s for entry in by_operation) / (os.cpu_count() or 1)
    latency_s = untimed * seen.latency_s
    return START_S + steps_s + latency_s if untimed or steps_s else 0.0


def _gpu_hours(by_operation: Iterable[OperationPlan], space: SearchSpace) -> float:
    needs = needs_of(space, operations_of(space))
    return (
        sum(entry.to_run * entry.step_s * needs[entry.operation].gpus for entry in by_operation if entry.to_run) / 3600
    )


def _bytes(store: Store, model_id: str, artifact: str) -> int:
    return store.size_bytes("step", model_id) + (store.layout.artifact_bytes(artifact) or 0)
