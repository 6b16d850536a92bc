"""What of a study is done, what failed, and what is still to run."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cc_ray.recipe import Recipe, trial_id
from cc_ray.search.baselines import baselines
from cc_ray.search.branching import gone_on_from, resolved
from cc_ray.search.matching import answers_for
from cc_ray.search.measured import filled
from cc_ray.search.records import Holdings, TrialState, holdings, last_trials
from cc_ray.search.sampling import canonical, check, draw_by_lot, listed, listed_suited, size, task_of
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
    stopped: tuple[TrialState, ...]
    """Stopped early, by what their models were worth; not tried again while the space asks for early stopping."""
    to_run: tuple[Recipe, ...]
    """Known to be run, baselines first; of a guided search only those that an earlier session did not get done."""
    count: int
    """Trials to run; of a guided search more than `to_run` names."""
    lasting: frozenset[str] = frozenset()
    """Models that are made to the end: those of baselines, and those that other recipes go on from."""
    held: Holdings = field(default_factory=Holdings)
    """What the store held."""
    branched_from: tuple[str, ...] = ()
    """Models of the store that its recipes go on from."""

    @property
    def total(self) -> int:
        """Trials of the whole study."""
        return len(self.finished) + len(self.failed) + len(self.stopped) + self.count

    def expected(self) -> tuple[Recipe, ...]:
        """The recipes to run; where the search decides later, others taken by lot stand in for them."""
        known = {*self.to_run, *self.finished, *(state.recipe for state in (*self.failed, *self.stopped))}
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
    task = task_of(space)
    branched_from = gone_on_from(space, store)
    space = filled(resolved(space, store, task.task_id), store, task.task_id)
    check(space)
    states, held = (last_trials(store, space.name), holdings(store)) if store else ({}, Holdings())
    beside = baselines(space)
    # What the space asks for has to apply; what it is compared with may leave out what does not.
    first = listed_suited(beside) if beside else []
    own = _recipes(space, states)
    finished, failed, stopped, to_run = [], [], [], []
    for recipe in dict.fromkeys((*first, *own)):
        state, is_there = states.get(trial_id(space.name, recipe)), held.all_of(recipe, task.task_id)
        if state and state.state == "failed" and not retry_failed:
            failed.append(replace(state, recipe=recipe))
        elif state and state.state == "finished" and is_there:
            finished.append(recipe)
        elif state and state.stopped_early and space.early_stopping and not is_there:
            stopped.append(replace(state, recipe=recipe))
        else:
            to_run.append(recipe)
    still_open = max(0, _samples(space, first) - len(set(own) - set(first)))
    count = len(to_run) + still_open
    lasting = _lasting((*first, *own), first, task)
    ended = tuple(finished), tuple(failed), tuple(stopped)
    return Agenda(space, task, *ended, tuple(to_run), count, lasting, held, branched_from)


def _lasting(recipes: Iterable[Recipe], beside: Iterable[Recipe], task: Task) -> frozenset[str]:
    task_id = task.task_id
    on_the_way = (model_id for recipe in recipes for model_id in recipe.model_ids(task_id)[:-1])
    return frozenset(on_the_way).union(recipe.model_ids(task_id)[-1] for recipe in beside)


def _recipes(space: SearchSpace, states: dict[str, TrialState]) -> list[Recipe]:
    if not space.guided:
        return listed(space)
    past = (state.recipe for state in states.values() if answers_for(space, state.recipe) is not None)
    # A recipe of an older version of an operation has another identity now: it is no trial of this space.
    return [now for recipe in past if (now := canonical(recipe)) == recipe]


def _samples(space: SearchSpace, beside: Sequence[Recipe]) -> int:
    """Trials that a guided search is to have over all sessions; no more than there are recipes but the baselines."""
    if not space.guided or space.samples is None:
        return 0
    limit = size(space)
    if limit is None:
        return space.samples
    return min(space.samples, limit - sum(answers_for(space, recipe) is not None for recipe in beside))
