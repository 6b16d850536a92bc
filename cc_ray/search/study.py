"""One session of a study as the driver sees it: writes trials' states, keeps the figures for the progress display."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

from cc_ray.recipe import Recipe, trial_id
from cc_ray.search.agenda import Agenda
from cc_ray.search.models import Models
from cc_ray.search.progress import Best, Failure, Progress, StudySummary
from cc_ray.search.records import (
    TrialState,
    behind,
    branched_before,
    hours_of,
    metrics_by_model,
    metrics_of,
    write_study,
    write_trials,
)
from cc_ray.search.verdicts import Front, judged, worst_possible
from cc_ray.search.work import Chain, Outcome
from cc_ray.store import Store

_PACE: Final = 3
"""Models to see before their pace is believed more than the plan."""


class Study:
    """A running session; used by one thread.

    Args:
        agenda: What is done and what is to run.
        store: Takes the rows.
        estimated_s: How long the session is expected to take.
        started_by: Who started it; empty where nobody said.
    """

    def __init__(self, agenda: Agenda, store: Store, estimated_s: float, started_by: str = "") -> None:
        self.agenda = agenda
        self.task_id = agenda.task.task_id
        self.resources: Mapping[str, float] = {}
        """What the cluster has, once there is one."""
        self._store = store
        self._estimated_s = estimated_s
        self._started_by = started_by
        self._branched_from = agenda.branched_from or branched_before(store, agenda.space.name)
        self._behind = behind(store, agenda.space.name)
        self._started_at, self._clock = self._now(), time.monotonic()
        self._running: dict[Recipe, float] = {}
        self._dropped: set[Recipe] = set()
        self._open = dict.fromkeys(agenda.to_run)
        """Recipes known that have not ended."""
        self._unwritten: list[tuple[TrialState, datetime]] = []
        self._models = Models(store)
        self._failures = list(agenda.failed)
        self._finished = 0
        self._stopped = 0
        self._first: tuple[float, int] | None = None
        self._best: dict[str, Best] = {}
        self._front = Front(agenda.space, worst_possible(agenda.space))
        self._judged: set[str] = set()
        self._metrics: dict[str, dict[str, float]] = {}
        self._unchanged = 0
        self._hours = hours_of(store, agenda.space.name)
        self._look_up(agenda.finished)
        for recipe in agenda.finished:
            self._models.need(recipe.model_ids(self.task_id), agenda.held.made.__contains__)
            self._judge(recipe)
        self._unchanged = 0

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
        for recipe in self.agenda.to_run:
            self._models.need(recipe.model_ids(self.task_id), self.agenda.held.made.__contains__)
            self._note(self._state(recipe, "pending"))
        self.flush()

    def finish_known(self) -> list[Recipe]:
        """Finish trials whose models are all there; returns those that need a cluster."""
        known: list[Recipe] = []
        left: list[Recipe] = []
        for recipe in self.agenda.to_run:
            (known if self.agenda.held.all_of(recipe, self.task_id) else left).append(recipe)
        self._look_up(known)
        for recipe in known:
            self.ended(recipe, Chain(0, len(recipe.steps) + 1))
        self.flush()
        return left

    def started(self, recipe: Recipe) -> None:
        """A trial begins."""
        if recipe not in self._running and recipe not in self._dropped:
            self._open[recipe] = None
            self._running[recipe] = time.monotonic()
            self._models.need(recipe.model_ids(self.task_id), partial(self._store.has, "step"))
            self._note(self._state(recipe, "running"))

    def learn(self, made: Iterable[str]) -> None:
        """Hear of models that were made for this session."""
        self._models.made(made)

    def ended(self, recipe: Recipe, chain: Chain) -> Mapping[str, float] | None:
        """A trial has all its models, or a step failed or was stopped; returns the metrics of its model, if any."""
        self._hours["cpus"] += chain.cpu_s / 3600
        self._hours["gpus"] += chain.gpu_s / 3600
        if recipe in self._dropped:
            return None
        self._open.pop(recipe, None)
        if chain.failure:
            self._ended_short(recipe, chain)
            return None
        values = self._judge(recipe)
        self._models.made(recipe.model_ids(self.task_id))
        self._note(self._state(recipe, chain.state, chain))
        self._running.pop(recipe, None)
        self._finished += 1
        return values

    def _ended_short(self, recipe: Recipe, chain: Chain) -> None:
        stopped_early = chain.failure is not None and bool(chain.failure.stopped)
        self._models.ended_short(recipe.model_ids(self.task_id), failed=not stopped_early)
        state = self._state(recipe, chain.state, chain)
        self._note(state)
        self._running.pop(recipe, None)
        if stopped_early:
            self._stopped += 1
            self._unchanged += 1
        else:
            self._failures.append(state)
        # The store alone knows of it: a driver that is killed now must not forget.
        self.flush()

    def drop(self, trial: str, reason: str) -> tuple[Recipe, frozenset[str]] | None:
        """Note that somebody stopped a trial.

        Returns:
            Its recipe and the models that no other trial waits for; None where it has ended, or is not known yet.
        """
        recipe = next((each for each in self._open if trial_id(self.study_id, each) == trial), None)
        if recipe is None:
            return None
        del self._open[recipe]
        self._dropped.add(recipe)
        ids = recipe.model_ids(self.task_id)
        alone = frozenset(ids).difference(*(other.model_ids(self.task_id) for other in self._open))
        self._models.ended_short([model_id for model_id in ids if model_id in alone], failed=False)
        self._note(self._state(recipe, "stopped", reason=reason))
        self._running.pop(recipe, None)
        self._stopped += 1
        self.flush()
        return recipe, alone

    def is_dropped(self, recipe: Recipe) -> bool:
        """Whether somebody stopped the trial."""
        return recipe in self._dropped

    def flush(self) -> None:
        """Write the trials' changes since the last time, together: a file for each would be very many."""
        write_trials(self._store, self._unwritten)
        self._unwritten = []

    def enough(self) -> str | None:
        """Why the study is to stop before all trials ran, if its space says so."""
        space = self.agenda.space
        for name, limit, spent in (
            ("GPU", space.gpu_hours, self._hours["gpus"]),
            ("CPU", space.cpu_hours, self._hours["cpus"]),
        ):
            if limit is not None and spent >= limit:
                return f"budget of {limit:g} {name}-hours"
        if space.patience is not None and self._unchanged >= space.patience:
            return f"the hypervolume did not grow in {self._unchanged} trials"
        return None

    def close(self, reason: str | None, *, failed: bool = False) -> StudySummary:
        """Write how the session ended.

        Args:
            reason: Why it ended before all trials did; None where they all ended.
            failed: It ended by an error.
        """
        state = "finished" if reason is None else "failed" if failed else "stopped"
        for recipe in self._running:
            self._note(self._state(recipe, "stopped", reason=reason))
        self.flush()
        self._running.clear()
        self._write_study(state, reason)
        return self.summary(state, reason or "")

    def summary(self, state: str, reason: str = "") -> StudySummary:
        """The session in figures."""
        failures = (Failure(s.trial_id, str(s.recipe), s.failed_step or "", s.reason or "") for s in self._failures)
        return StudySummary(self.study_id, state, self.progress(0), tuple(failures), reason)

    def progress(self, models_running: int, waits_for: str = "") -> Progress:
        """The figures of this moment."""
        models = self._models.counts
        elapsed_s = time.monotonic() - self._clock
        return Progress(
            study_id=self.study_id,
            trials_total=self.agenda.total,
            trials_done=len(self.agenda.finished) + self._finished,
            trials_failed=len(self._failures),
            trials_stopped=len(self.agenda.stopped) + self._stopped,
            trials_running=len(self._running),
            models_total=models.total(),
            models_done=models["made"],
            models_reused=models["reused"],
            models_failed=models["failed"],
            models_running=models_running,
            best=dict(self._best),
            hypervolume=self._front.volume,
            unchanged=self._unchanged,
            cpu_hours=self._hours["cpus"],
            gpu_hours=self._hours["gpus"],
            waits_for=waits_for,
            elapsed_s=elapsed_s,
            remaining_s=self._remaining_s(elapsed_s),
        )

    def _look_up(self, recipes: Iterable[Recipe]) -> None:
        ids = {model_id for recipe in recipes for model_id in recipe.model_ids(self.task_id)}
        self._metrics |= metrics_by_model(self._store, ids - self._metrics.keys())

    def _note(self, state: TrialState) -> None:
        self._unwritten.append((state, self._now()))

    def _remaining_s(self, elapsed_s: float) -> float:
        """Time left by the pace since the first model, which came after a start that does not repeat itself."""
        done = self._models.counts["made"]
        if done and self._first is None:
            self._first = (elapsed_s, done)
        if self._first is None or done < self._first[1] + _PACE:
            return max(0.0, self._estimated_s - elapsed_s)
        first_s, first = self._first
        return self._left() * (elapsed_s - first_s) / (done - first)

    def _left(self) -> float:
        """Models still to be made; for recipes that are not known yet as many as the others took."""
        ended = self._finished + self._stopped + len(self._failures) - len(self.agenda.failed)
        unknown = self.agenda.count - ended - len(self._running)
        if not self.agenda.space.guided or not ended:
            unknown = 0
        models = self._models.counts
        return models["missing"] + unknown * models["made"] / max(1, ended)

    def _judge(self, recipe: Recipe) -> Mapping[str, float]:
        """Hold the models of a finished trial against those before; returns the metrics of the last one."""
        space, ids = self.agenda.space, recipe.model_ids(self.task_id)
        grew = [self._grows(model_id, is_base=not index) for index, model_id in enumerate(ids)]
        self._unchanged = 0 if any(grew) else self._unchanged + 1
        values = self._metrics[ids[-1]]
        verdict = judged(space, values)
        for metric, direction in space.objectives.items() if verdict and verdict.keeps_bounds else ():
            if _is_better(values[metric], self._best.get(metric), direction):
                self._best[metric] = Best(metric, direction, values[metric], ids[-1], str(recipe))
        return values

    def _grows(self, model_id: str, *, is_base: bool) -> bool:
        """Whether a model makes the hypervolume larger."""
        if model_id in self._judged:
            return False
        self._judged.add(model_id)
        if model_id not in self._metrics:
            self._metrics[model_id] = metrics_of(self._store, model_id)
        verdict = judged(self.agenda.space, self._metrics[model_id])
        if verdict and is_base:
            self._front.add_base(verdict)
        return bool(verdict and verdict.keeps_bounds and self._front.add(verdict))

    def _state(self, recipe: Recipe, state: str, chain: Chain | None = None, reason: str | None = None) -> TrialState:
        failure = (chain and chain.failure) or Outcome("", reason or "")
        model_id = recipe.model_ids(self.task_id)[-1]
        return TrialState(
            study_id=self.study_id,
            recipe=recipe,
            state=state,
            reason=failure.reason or None,
            failed_step=failure.failed_step or None,
            model_id=model_id if self._models.has(model_id) else None,
            steps_reused=chain.reused if chain else 0,
            steps_run=chain.made if chain else 0,
            hypervolume=self._front.volume if chain else None,
            duration_s=time.monotonic() - self._running[recipe] if recipe in self._running else 0.0,
        )

    def _write_study(self, state: str, reason: str | None = None) -> None:
        write_study(
            self._store,
            self.agenda.space,
            self.task_id,
            state,
            self._started_at,
            self.resources,
            self._now(),
            reason=reason,
            started_by=self._started_by,
            branched_from=self._branched_from,
        )

    def _now(self) -> datetime:
        """The time, never before what other machines wrote of the study."""
        return datetime.now(UTC) + self._behind


def _is_better(value: float, best: Best | None, direction: str) -> bool:
    if best is None:
        return True
    return value > best.value if direction == "higher" else value < best.value
