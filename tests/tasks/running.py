"""Recipes on a task, step by step and untimed: timing waits until nobody else on the machine works."""

from cc_ray.recipe import Recipe
from cc_ray.store import Store
from cc_ray.tasks import Task
from cc_ray.trial import ensure_task, run_step


def models_made(store: Store, task: Task, recipe: Recipe) -> list[str]:
    """Run a recipe; the identities of its models, the base model's first."""
    ensure_task(store, task)
    return [run_step(store, task, recipe, index).model_id for index in range(len(recipe.steps) + 1)]
