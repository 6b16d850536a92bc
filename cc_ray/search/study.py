"""One session of a study as the driver sees it: writes trials' states, keeps the figures for the progress display."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from cc_ray.recipe import Recipe
from cc_ray.search.agenda import Agenda
from cc_ray.search.progress import Best, Failure, Progress, StudySummary
from cc_ray.search.records import TrialState, has_all, metrics_of, write_study, write_trials
from cc_ray.search.steps import Chain, Outcome
from cc_ray.store import Store

_PACE: Final = 3
"""Models to see before their pace is believed more than the plan."""


class Study:
    """A running session; used by one thread.

    Args:
        agenda: What is done and what is to run.
        store: Takes the rows.
        estimated_s: How long the session is expected to take.
    """

    def __init__(self, agenda: Agenda, store: Store, estimated_s: float) -> None:
        self.agenda = agenda
        self.task_id = agenda.task.task_id
        self.resources: Mapping[str, float] = {}
        """What the cluster has, once there is one."""
        self._store = store
        self._estimated_s = estimated_s
        self._started_at, self._clock = datetime.now(UTC), time.monotonic()
        self._running: dict[Recipe, float] = {}
        self._missing: set[str] = set()
        """Models still to be made; with the next three: every model of the trials known so far, once."""
        self._reused: set[str] = set()
        self._done: set[str] = set()
        self._failed: set[str] = set()
        self._failures = list(agenda.failed)
        self._finished = 0
        self._first: tuple[float, int] | None = None
        self._best: dict[str, Best] = {}
        for recipe in agenda.finished:
            self._need(recipe)
            self._judge(recipe)

    @property
    def study_id(self) -> str:
        """The study."""
        return self.agenda.space.name

    def begin(self) -> None:
        """Sweep what killed writers left; write the task, that the study runs, and which trials it waits for."""
        # Imported here: those who only wait for steps import this file too, and need no torch.
        from cc_ray.trial import ensure_task

        self._store.sweep()
        ensure_task(self._store, self.agenda.task)
        self._write_study("running")
        write_trials(self._store, (self._state(recipe, "pending") for recipe in self.agenda.to_run))
        for recipe in self.agenda.to_run:
            self._need(recipe)

    def finish_known(self) -> list[Recipe]:
        """Finish trials whose models are all there; returns those that need a cluster."""
        left = []
        for recipe in self.agenda.to_run:
            if has_all(self._store, recipe, self.task_id):
                self.ended(recipe, Chain(0, len(recipe.steps) + 1))
            else:
                left.append(recipe)
        return left

    def started(self, recipe: Recipe) -> None:
        """A trial begins."""
        if recipe not in self._running:
            self._running[recipe] = time.monotonic()
            self._need(recipe)
            write_trials(self._store, [self._state(recipe, "running")])

    def ended(self, recipe: Recipe, chain: Chain) -> Mapping[str, float] | None:
        """A trial has all its models, or a step failed; returns the metrics of its model, None where it failed."""
        state = self._state(recipe, "failed" if chain.failure else "finished", chain)
        write_trials(self._store, [state])
        self._running.pop(recipe, None)
        if chain.failure:
            self._failures.append(state)
            self._fail(recipe)
            return None
        self._finished += 1
        return self._judge(recipe)

    def close(self, reason: str | None, *, failed: bool = False) -> StudySummary:
        """Write how the session ended.

        Args:
            reason: Why it ended before all trials did; None where they all ended.
            failed: It ended by an error.
        """
        state = "finished" if reason is None else "failed" if failed else "stopped"
        write_trials(self._store, [self._state(recipe, "stopped", reason=reason) for recipe in self._running])
        self._running.clear()
        self._write_study(state)
        return self.summary(state)

    def summary(self, state: str) -> StudySummary:
        """The session in figures."""
        failures = (Failure(s.trial_id, str(s.recipe), s.failed_step or "", s.reason or "") for s in self._failures)
        return StudySummary(self.study_id, state, self.progress(0), tuple(failures))

    def progress(self, models_running: int) -> Progress:
        """The figures of this moment."""
        self._look_for_models()
        elapsed_s = time.monotonic() - self._clock
        return Progress(
            study_id=self.study_id,
            trials_total=self.agenda.total,
            trials_done=len(self.agenda.finished) + self._finished,
            trials_failed=len(self._failures),
            trials_running=len(self._running),
            models_total=sum(map(len, (self._missing, self._reused, self._done, self._failed))),
            models_done=len(self._done),
            models_reused=len(self._reused),
            models_failed=len(self._failed),
            models_running=models_running,
            best=dict(self._best),
            elapsed_s=elapsed_s,
            remaining_s=self._remaining_s(elapsed_s),
        )

    def _need(self, recipe: Recipe) -> None:
        for model_id in recipe.model_ids(self.task_id):
            if model_id in self._failed:
                return
            if model_id not in self._missing | self._reused | self._done:
                there = self._store.has("step", model_id)
                (self._reused if there else self._missing).add(model_id)

    def _fail(self, recipe: Recipe) -> None:
        """The first model of the recipe that is not there is the one that failed; those after it are never made."""
        self._look_for_models()
        absent = [id_ for id_ in recipe.model_ids(self.task_id) if id_ not in self._reused | self._done]
        self._failed.update(absent[:1])
        self._missing.difference_update(absent)

    def _look_for_models(self) -> None:
        made = {model_id for model_id in self._missing if self._store.has("step", model_id)}
        self._missing -= made
        self._done |= made

    def _remaining_s(self, elapsed_s: float) -> float:
        """Time left by the pace since the first model, which came after a start that does not repeat itself."""
        done = len(self._done)
        if done and self._first is None:
            self._first = (elapsed_s, done)
        if self._first is None or done < self._first[1] + _PACE:
            return max(0.0, self._estimated_s - elapsed_s)
        first_s, first = self._first
        return self._left() * (elapsed_s - first_s) / (done - first)

    def _left(self) -> float:
        """Models still to be made; for recipes that are not known yet as many as the others took."""
        ended = self._finished + len(self._failures) - len(self.agenda.failed)
        unknown = self.agenda.count - ended - len(self._running)
        if self.agenda.space.method != "optuna" or not ended:
            unknown = 0
        return len(self._missing) + unknown * len(self._done) / max(1, ended)

    def _judge(self, recipe: Recipe) -> Mapping[str, float]:
        model_id = recipe.model_ids(self.task_id)[-1]
        values = metrics_of(self._store, model_id)
        space = self.agenda.space
        keeps_bounds = all(c.excess(values.get(c.metric, math.nan)) <= 0 for c in space.constraints)
        for metric, direction in space.objectives.items() if keeps_bounds else ():
            value = values.get(metric, math.nan)
            if math.isfinite(value) and _is_better(value, self._best.get(metric), direction):
                self._best[metric] = Best(metric, direction, value, model_id, str(recipe))
        return values

    def _state(self, recipe: Recipe, state: str, chain: Chain | None = None, reason: str | None = None) -> TrialState:
        failure = (chain and chain.failure) or Outcome("", reason or "")
        model_id = recipe.model_ids(self.task_id)[-1]
        return TrialState(
            study_id=self.study_id,
            recipe=recipe,
            state=state,
            reason=failure.reason or None,
            failed_step=failure.failed_step or None,
            model_id=model_id if self._store.has("step", model_id) else None,
            steps_reused=chain.reused if chain else 0,
            steps_run=chain.made if chain else 0,
            duration_s=time.monotonic() - self._running[recipe] if recipe in self._running else 0.0,
        )

    def _write_study(self, state: str) -> None:
        write_study(self._store, self.agenda.space, self.task_id, state, self._started_at, self.resources)


def _is_better(value: float, best: Best | None, direction: str) -> bool:
    if best is None:
        return True
    return value > best.value if direction == "higher" else value < best.value
