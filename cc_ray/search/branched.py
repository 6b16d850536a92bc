"""A study that goes on from models of the store, made of these and of steps alone; and one that is gone on with."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

import pyarrow.compute as pc

from cc_ray.errors import CcRayError, InvalidRecipeError
from cc_ray.search.space import RecipeSpace, SearchSpace, StepSpace
from cc_ray.store import Store

_ALWAYS: Final = ("*", "train base", "latency")
"""What resources may be asked for whatever the steps are."""
_NAME: Final = 70
"""Characters of a name that is made here."""


def branched(
    store: Store, models: Sequence[str], steps: Sequence[StepSpace], *, name: str = "", seeds: Sequence[int] = ()
) -> SearchSpace:
    """The search space of recipes that go on from models, each value of open steps in each combination.

    Objectives, bounds and what steps ask of the cluster are those of the study that made the first model.

    Args:
        store: Has the models.
        models: Their identities.
        steps: What is done to each, in order.
        name: Names the study; empty for one that the store does not know yet.
        seeds: Make the recipes with each of these, from the base model on; none keeps the models' own.

    Raises:
        InvalidRecipeError: If there is nothing to go on from or to do, or the models are of several tasks.
    """
    if not models or not steps:
        raise InvalidRecipeError("branch: name at least one model to go on from, and at least one step to do to it.")
    rows = [_model(store, model_id) for model_id in dict.fromkeys(models)]
    tasks = {row["task_id"] for row in rows}
    if len(tasks) > 1:
        raise InvalidRecipeError(f"branch: the models are of {len(tasks)} tasks; choose models of one.")
    form = RecipeSpace.of((), steps, models=tuple(row["model_id"] for row in rows), seeds=tuple(seeds))
    named = name or unused_name(store, rows[0]["base"], steps)
    return _like_its_study(store, rows, named, form)


def again(store: Store, study: str) -> SearchSpace:
    """The search space of a study of the store, as its last session had it.

    Raises:
        InvalidRecipeError: If the store has no such study, or it was not searched by this program.
    """
    row = _last(store, "study_id", study)
    if row is None:
        raise InvalidRecipeError(f"no study '{study}' in {store.root}: `cc-ray ask studies` lists those it has.")
    space = _space(row)
    if space is None:
        raise InvalidRecipeError(f"study '{study}' was imported or is of another version: it cannot be gone on with.")
    return space


def unused_name(store: Store, base: str, steps: Sequence[StepSpace]) -> str:
    """A name for a study that says what it does and that the store does not know."""
    taken = set(store.read("studies").column("study_id").to_pylist())
    wanted = "-".join([base, *(step.operation for step in steps)])
    wanted = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in wanted)[:_NAME].lstrip("._-")
    return _numbered(wanted or "branch", taken)


def _numbered(wanted: str, taken: Collection[str]) -> str:
    number = 1
    while (found := wanted if number == 1 else f"{wanted}-{number}") in taken:
        number += 1
    return found


def _model(store: Store, model_id: str) -> dict[str, Any]:
    table = store.read("models").select(["model_id", "task_id", "base", "study_id", "recipe"])
    rows = table.filter(pc.equal(table["model_id"], model_id)).to_pylist()
    if not rows:
        raise InvalidRecipeError(f"branch: the store has no model '{model_id}'. `cc-ray models` lists those it has.")
    found: dict[str, Any] = rows[0]
    return found


def _like_its_study(store: Store, models: Sequence[dict[str, Any]], name: str, form: RecipeSpace) -> SearchSpace:
    """The space with what the study of the first model, else the last one of its task, wanted and asked for."""
    model = models[0]
    task = store.read("tasks", keys={"task": model["task_id"]}).to_pylist()[0]
    parameters = json.loads(task["parameters"])
    plain = SearchSpace(name, task["task"], [form], task_parameters=parameters, baselines=False)
    row = _last(store, "study_id", model["study_id"]) or _last(store, "task_id", model["task_id"])
    study = _space(row) if row else None
    if study is None:
        return plain
    before = {step["operation"] for row in models for step in json.loads(row["recipe"]).get("steps", ())}
    used = before.union(_ALWAYS, (step.operation for slot in form.slots for step in slot.options))
    return replace(
        plain,
        objectives=study.objectives,
        constraints=study.constraints,
        step_time_limit_s=study.step_time_limit_s,
        resources={operation: asked for operation, asked in study.resources.items() if operation in used},
    )


def _last(store: Store, column: str, value: str) -> dict[str, Any] | None:
    table = store.read("studies")
    rows = table.filter(pc.equal(table[column], value)).sort_by("at").to_pylist()
    return rows[-1] if rows else None


def _space(row: dict[str, Any]) -> SearchSpace | None:
    try:
        return SearchSpace.from_json(json.loads(row["search_space"]))
    except (KeyError, TypeError, ValueError, AttributeError, CcRayError):
        # Imported, or written by another version.
        return None
