"""What of a study is done, what failed, and what is still to run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cc_ray.recipe import Recipe, trial_id
from cc_ray.search.matching import answers_for
from cc_ray.search.records import TrialState, has_all, last_trials
from cc_ray.search.sampling import canonical, check, draw_by_lot, listed, size, task_of
from cc_ray.search.space import SearchSpace
from cc_ray.store import Store

if TYPE_CHECKING:
    from cc_ray.tasks import Task


@dataclass(frozen=True)
class Agenda:
    """The state of a study before a session."""

    space: SearchSpace
    task: Task
    finished: tuple[Recipe, ...]
    """Their models are all in the store."""
    failed: tuple[TrialState, ...]
    """Not tried again in this session."""
    to_run: tuple[Recipe, ...]
    """Known to be run; with `optuna` only those that an earlier session did not get done."""
    count: int
    """Trials to run; with `optuna` more than `to_run` names."""

    @property
    def total(self) -> int:
        """Trials of the whole study."""
        return len(self.finished) + len(self.failed) + self.count

    def expected(self) -> tuple[Recipe, ...]:
        """The recipes to run; where Optuna decides later, others taken by lot stand in for them."""
        known = {*self.to_run, *self.finished, *(state.recipe for state in self.failed)}
        others: Iterator[Recipe] = (recipe for recipe in draw_by_lot(self.space) if recipe not in known)
        missing = self.count - len(self.to_run)
        return (*self.to_run, *itertools.islice(others, missing)) if missing else self.to_run


def take_stock(space: SearchSpace, store: Store | None, *, retry_failed: bool = False) -> Agenda:
    """Check a space and hold it against what the store knows of its study.

    Args:
        space: The search space.
        store: None where there is none yet.
        retry_failed: Failed trials are to be run again.

    Raises:
        InvalidRecipeError: If the space holds a recipe that cannot run.
        UnknownOperationError: If an operation is not registered.
        UnknownTaskError: If the task is not registered.
    """
    check(space)
    task = task_of(space)
    states = last_trials(store, space.name) if store else {}
    recipes = _recipes(space, states)
    finished, failed, to_run = [], [], []
    for recipe in recipes:
        state = states.get(trial_id(space.name, recipe))
        if state and state.state == "failed" and not retry_failed:
            failed.append(replace(state, recipe=recipe))
        elif store and state and state.state == "finished" and has_all(store, recipe, task.task_id):
            finished.append(recipe)
        else:
            to_run.append(recipe)
    count = max(len(to_run), _samples(space) - len(finished) - len(failed))
    return Agenda(space, task, tuple(finished), tuple(failed), tuple(to_run), count)


def _recipes(space: SearchSpace, states: dict[str, TrialState]) -> list[Recipe]:
    if space.method != "optuna":
        return listed(space)
    past = (state.recipe for state in states.values() if answers_for(space, state.recipe) is not None)
    # A recipe of an older version of an operation has another identity now: it is no trial of this space.
    return [now for recipe in past if (now := canonical(recipe)) == recipe]


def _samples(space: SearchSpace) -> int:
    """Trials that Optuna is to have over all sessions; no more than there are recipes."""
    if space.method != "optuna" or space.samples is None:
        return 0
    limit = size(space)
    return space.samples if limit is None else min(space.samples, limit)
