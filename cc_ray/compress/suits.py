"""Ask operations of a task's untrained base models whether they apply, before any trial starts."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from cc_ray.compress.base import Operation
from cc_ray.compress.steps import operation_of
from cc_ray.errors import InvalidRecipeError, NotApplicableError
from cc_ray.recipe import Recipe, Step, canonical_json
from cc_ray.tasks import Task


class Suits:
    """Builds each base model once and asks each step of it once.

    Of a step that comes after one that `reshapes` nothing can be said: it is asked when its parent is there.

    Args:
        task: Builds the models.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._known: dict[tuple[str, str], tuple[Operation, NotApplicableError | None]] = {}
        self._built = cache(self._build)

    def check(self, recipe: Recipe) -> None:
        """Make sure that the steps of which it can be known apply.

        Args:
            recipe: Canonical.

        Raises:
            InvalidRecipeError: If one does not; names recipe, step and reason.
        """
        for index, step in enumerate(recipe.steps):
            made, refusal = self._asked(recipe.base, step)
            if refusal:
                raise InvalidRecipeError(f"step {index + 1} of '{recipe}': {refusal}") from refusal
            if made.reshapes:
                return

    def does(self, recipe: Recipe) -> bool:
        """Whether `check` has nothing against a recipe."""
        try:
            self.check(recipe)
        except InvalidRecipeError:
            return False
        return True

    def _asked(self, base: str, step: Step) -> tuple[Operation, NotApplicableError | None]:
        key = base, canonical_json(step.to_json())
        if key not in self._known:
            made = operation_of(step)
            self._known[key] = made, self._refusal(made, base)
        return self._known[key]

    def _refusal(self, made: Operation, base: str) -> NotApplicableError | None:
        try:
            made.suit(self._built(base))
        except NotApplicableError as error:
            return error
        return None

    def _build(self, base: str) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            return self._task.build(base)
