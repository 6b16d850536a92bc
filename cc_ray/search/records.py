"""What a study writes down of itself, and reads back: states of trials, states of the study, metrics of models."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import socket
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from cc_ray.recipe import Recipe, canonical_json, trial_id
from cc_ray.search.space import SearchSpace
from cc_ray.store import Store

_LIBRARIES: Final = ("ray", "torch", "torchao", "transformers", "torch-pruning", "optuna", "numpy", "pyarrow")

_FEW: Final = 100
"""The metrics of so many models are read one by one."""


@dataclass(frozen=True)
class TrialState:
    """What is known of a trial at one moment; becomes a row of `schema.TRIALS`."""

    study_id: str
    recipe: Recipe
    state: str
    """pending, running, finished, failed or stopped."""
    reason: str | None = None
    failed_step: str | None = None
    model_id: str | None = None
    """The model that the recipe ends in; None until it exists."""
    steps_reused: int = 0
    steps_run: int = 0
    hypervolume: float | None = None
    """Of the study's models when the trial ended."""
    duration_s: float = 0.0

    @property
    def trial_id(self) -> str:
        """Identity of the trial."""
        return trial_id(self.study_id, self.recipe)

    @property
    def stopped_early(self) -> bool:
        """Whether its last step did badly, rather than its session having ended."""
        return self.state == "stopped" and self.failed_step is not None

    def to_row(self, at: datetime) -> dict[str, Any]:
        """The row as of a time."""
        return {
            "study_id": self.study_id,
            "trial_id": self.trial_id,
            "recipe": canonical_json(self.recipe.to_json()),
            "recipe_text": str(self.recipe),
            "state": self.state,
            "reason": self.reason,
            "failed_step": self.failed_step,
            "model_id": self.model_id,
            "steps_reused": self.steps_reused,
            "steps_run": self.steps_run,
            "hypervolume": self.hypervolume,
            "duration_s": self.duration_s,
            "at": at,
        }


def behind(store: Store, study_id: str) -> timedelta:
    """How far this machine's clock is behind the last row of a study; the last row of a trial is what counts."""
    latest = [pc.max(_of_study(store.read(name), study_id).column("at")).as_py() for name in ("trials", "studies")]
    now = datetime.now(UTC)
    found: timedelta = max([timedelta(0), *(last - now for last in latest if last is not None)])
    return found


def write_trials(store: Store, changes: Iterable[tuple[TrialState, datetime]]) -> None:
    """Publish changes of trials' states, each with its time, all of them together."""
    rows = [state.to_row(at) for state, at in changes]
    if rows:
        store.publish("trial", f"{rows[0]['trial_id']}-{uuid.uuid4().hex}", {"trials": rows})


def last_trials(store: Store, study_id: str) -> dict[str, TrialState]:
    """The last state of every trial of a study, by trial."""
    rows = _of_study(store.read("trials"), study_id).sort_by("at").to_pylist()
    return {row["trial_id"]: _state(row) for row in rows}


def write_study(
    store: Store,
    space: SearchSpace,
    task_id: str,
    state: str,
    started_at: datetime,
    resources: Mapping[str, float],
    at: datetime,
    *,
    reason: str | None = None,
    started_by: str = "",
    branched_from: Collection[str] = (),
) -> None:
    """Publish a change of a study's state.

    Args:
        store: Takes the row.
        space: The study's search space.
        task_id: The task that it searches over.
        state: running, finished, stopped or failed.
        started_at: When this session began.
        resources: What the cluster has; empty where none was needed.
        at: When the state changed.
        reason: Why it ended before all trials had.
        started_by: Who started the session; empty where nobody said.
        branched_from: Models that its recipes go on from.
    """
    row = {
        "study_id": space.name,
        "state": state,
        "task_id": task_id,
        "search_space": canonical_json(space.to_json()),
        "objectives": canonical_json(dict(space.objectives)),
        "started_at": started_at,
        "finished_at": None if state == "running" else at,
        "code_version": _version("cc-ray"),
        "environment": canonical_json(_environment(resources)),
        "reason": reason,
        "started_by": started_by or None,
        "branched_from": list(branched_from) or None,
        "at": at,
    }
    store.publish("study", f"{space.name}-{uuid.uuid4().hex}", {"studies": [row]})


def is_recorded(store: Store, space: SearchSpace) -> bool:
    """Whether the store holds the study as finished, with this very search space."""
    rows = _of_study(store.read("studies"), space.name).sort_by("at").to_pylist()
    space_text = canonical_json(space.to_json())
    return bool(rows) and rows[-1]["state"] == "finished" and rows[-1]["search_space"] == space_text


def branched_before(store: Store, study_id: str) -> tuple[str, ...]:
    """The models that a study went on from in its last session; its space has their recipes in their place."""
    rows = _of_study(store.read("studies"), study_id).sort_by("at").to_pylist()
    return tuple(rows[-1]["branched_from"] or ()) if rows else ()


@dataclass(frozen=True)
class Holdings:
    """The models that a store held at one moment: it is asked once, not about each of thousands."""

    made: frozenset[str] = frozenset()
    """Made and measured by a step."""
    timed: frozenset[str] = frozenset()

    def all_of(self, recipe: Recipe, task_id: str) -> bool:
        """Whether every model of a recipe is made, measured and timed."""
        ids = recipe.model_ids(task_id)
        return self.made.issuperset(ids) and self.timed.issuperset(ids)


def holdings(store: Store) -> Holdings:
    """What the store holds now."""
    return Holdings(frozenset(store.keys("step")), frozenset(store.keys("latency")))


def metrics_of(store: Store, model_id: str) -> dict[str, float]:
    """A model's metrics over all evaluation instances, by name."""
    table = store.read("metrics", keys={"step": model_id, "latency": model_id})
    rows = table.filter(pc.equal(table.column("slice"), "all")).select(["metric", "value"]).to_pylist()
    return {row["metric"]: row["value"] for row in rows}


def metrics_by_model(store: Store, model_ids: Collection[str]) -> dict[str, dict[str, float]]:
    """As `metrics_of`, of many models: the table is read once."""
    if len(model_ids) <= _FEW:
        return {model_id: metrics_of(store, model_id) for model_id in model_ids}
    table = store.read("metrics").select(["model_id", "metric", "slice", "value"])
    table = table.filter(pc.equal(table["slice"], "all"))
    table = table.filter(pc.is_in(table["model_id"], pa.array(list(model_ids), pa.string())))
    found: dict[str, dict[str, float]] = {model_id: {} for model_id in model_ids}
    for model_id, metric, value in zip(
        *(table[name].to_pylist() for name in ("model_id", "metric", "value")), strict=True
    ):
        found[model_id][metric] = value
    return found


def recipes_of(store: Store, task_id: str) -> Iterator[tuple[str, Recipe]]:
    """The models of a task that steps made, with their recipes."""
    table, made = store.read("models"), frozenset(store.keys("step"))
    rows = table.filter(pc.equal(table.column("task_id"), task_id)).select(["model_id", "recipe"]).to_pylist()
    for row in rows:
        if row["model_id"] in made:
            yield row["model_id"], Recipe.from_json(json.loads(row["recipe"]))


def hours_of(store: Store, study_id: str) -> dict[str, float]:
    """Hours that the steps of a study have held `cpus` and `gpus`, times their number."""
    rows = _of_study(store.read("step_runs"), study_id).select(["cpus", "gpus", "duration_s"]).to_pylist()
    return {kind: sum((row[kind] or 0.0) * row["duration_s"] for row in rows) / 3600 for kind in ("cpus", "gpus")}


def _of_study(table: pa.Table, study_id: str) -> pa.Table:
    return table.filter(pc.equal(table.column("study_id"), study_id))


def _state(row: Mapping[str, Any]) -> TrialState:
    recipe = Recipe.from_json(json.loads(row["recipe"]))
    names = ("study_id", "state", "reason", "failed_step", "model_id", "steps_reused", "steps_run")
    more = ("hypervolume", "duration_s")
    return TrialState(recipe=recipe, **{name: row[name] for name in (*names, *more)})


def _environment(resources: Mapping[str, float]) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "node": socket.gethostname(),
        "cpus": os.cpu_count(),
        "device": ", ".join(["cpu", *_gpus(resources)]),
        "cluster": {name: amount for name, amount in resources.items() if name in ("CPU", "GPU", "memory")},
    }


def _gpus(resources: Mapping[str, float]) -> list[str]:
    """Kinds of the GPUs that nodes of a cluster have, as Ray names them."""
    kind = "accelerator_type:"
    return sorted(name.removeprefix(kind) for name in resources if name.startswith(kind))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
