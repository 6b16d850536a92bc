"""Recipes that go on from models of the store: the models' own recipes are put before the new steps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe
from cc_ray.search.space import FRONT, RecipeSpace, SearchSpace, StepSpace
from cc_ray.store import Store


def resolved(space: SearchSpace, store: Store | None, task_id: str) -> SearchSpace:
    """The same space with base models and whole recipes in place of models of the store.

    Args:
        space: May hold forms that were made with `branch(...)`.
        store: Has the models; None where there is no store yet.
        task_id: The task of the space.

    Raises:
        InvalidRecipeError: If a model is not there, is of another task, or cannot be made again.
    """
    if not any(form.models for form in space.recipes):
        return space
    if store is None:
        raise InvalidRecipeError(f"search space '{space.name}' goes on from models, but there is no store yet.")
    return replace(space, recipes=[one for form in space.recipes for one in _forms(form, space, store, task_id)])


def gone_on_from(space: SearchSpace, store: Store | None) -> tuple[str, ...]:
    """The models of the store that a space's recipes go on from, fronts spelled out."""
    if store is None:
        return ()
    return tuple(
        dict.fromkeys(id for form in space.recipes for name in form.models for id in _named(name, space, store))
    )


def _forms(form: RecipeSpace, space: SearchSpace, store: Store, task_id: str) -> Iterator[RecipeSpace]:
    if not form.models:
        yield form
        return
    ids = dict.fromkeys(model_id for name in form.models for model_id in _named(name, space, store))
    for recipe in _recipes(list(ids), store, task_id):
        own = [StepSpace(step.operation, dict(step.parameters)) for step in recipe.steps]
        yield form.after(recipe.base, own, form.seeds or (recipe.seed,))


def _named(name: str, space: SearchSpace, store: Store) -> list[str]:
    if not name.startswith(FRONT):
        return [name]
    # Imported here: most spaces ask nothing of what is there.
    from cc_ray import compare
    from cc_ray.views import open_views

    study = name.removeprefix(FRONT)
    found: list[str] = compare.recommendations(open_views(store.root), space.objectives, study=study)[
        "model_id"
    ].to_pylist()
    if not found:
        raise InvalidRecipeError(f"branch: study '{study}' has no model with all objectives: run it first.")
    return found


def _recipes(ids: Sequence[str], store: Store, task_id: str) -> Iterator[Recipe]:
    rows = {row["model_id"]: row for row in store.read("models").select(["model_id", "task_id", "recipe"]).to_pylist()}
    for model_id in ids:
        row = rows.get(model_id)
        if row is None:
            raise InvalidRecipeError(
                f"branch: the store has no model '{model_id}'. `cc-ray models` lists those it has."
            )
        if row["task_id"] != task_id:
            raise InvalidRecipeError(f"branch: model '{model_id}' is of task {row['task_id']}, the space of {task_id}.")
        recipe = Recipe.from_json(json.loads(row["recipe"])) if store.has("step", model_id) else None
        if recipe is None or recipe.model_ids(task_id)[-1] != model_id:
            raise InvalidRecipeError(
                f"branch: model '{model_id}' was imported or made by another version, and cannot be gone on with: "
                "start from its base model."
            )
        yield recipe
