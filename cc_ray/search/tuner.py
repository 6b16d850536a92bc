"""Runs a search space: Ray Tune hands out recipes, one coordinator per trial waits for the recipe's steps.

Coordinators take no CPU and import no torch; the steps are tasks of their own (`steps.py`). Only this file and
`coordinator.py` know Tune.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

import ray
from ray import tune
from ray.exceptions import OutOfMemoryError
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from cc_ray.errors import CcRayError, StoreUnavailableError
from cc_ray.recipe import Recipe
from cc_ray.search.agenda import take_stock
from cc_ray.search.arrival import await_nodes
from cc_ray.search.cluster import connected, cpus
from cc_ray.search.coordinator import coordinate
from cc_ray.search.early_stopping import contest_of
from cc_ray.search.matching import answers_for
from cc_ray.search.needs import needs_of
from cc_ray.search.plan import plan_agenda
from cc_ray.search.progress import Progress, StudySummary
from cc_ray.search.records import is_recorded, metrics_by_model, recipes_of
from cc_ray.search.requests import Inbox
from cc_ray.search.sampling import Listed, Sampler, operations_of
from cc_ray.search.space import SearchSpace
from cc_ray.search.steps import cancel, release_actor, steps_actor, stop_trial
from cc_ray.search.study import Study
from cc_ray.search.waiting import Pulse
from cc_ray.search.work import Chain, Job, Outcome
from cc_ray.search.worker import warm_up
from cc_ray.store import Store
from cc_ray.store.compaction import compact_if_worthwhile
from cc_ray.store.patience import waited_already

OnProgress = Callable[[Progress], None]

_TICK_S: Final = 0.5
"""Time between two calls of `on_progress`."""
_PATIENCE: Final = 10
"""A trial whose coordinator is lost, with its node, is begun again so many times."""
_COORDINATOR_BYTES: Final = 200_000_000
"""Memory that a coordinator takes."""
_MANY_CPUS: Final = 10_000
"""No cluster grows beyond."""
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
_SETTINGS: Final = {
    # A trial would write its result in three formats that nobody reads: the store has it.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Signals are handled here; Tune would leave its handler behind.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The newer output prints a banner even when told to be quiet.
    "RAY_AIR_NEW_OUTPUT": "0",
    # The store is what a study resumes from, so that Tune's own snapshots may be rare.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
}


def explore(
    space: SearchSpace,
    store: Store,
    *,
    address: str | None = None,
    on_progress: OnProgress | None = None,
    retry_failed: bool = False,
    started_by: str = "",
) -> StudySummary:
    """Run what a study lacks; a finished study takes a second and starts no cluster.

    Ctrl-C and SIGTERM end the session cleanly: what is published stays, trials under way are `stopped`, and the next
    call goes on. So does the space's time budget. A second Ctrl-C does not wait for the cluster.

    Args:
        space: The search space; its name names the study.
        store: Takes models and rows; what it holds is not made again.
        address: Of a Ray cluster; see `cluster.connected`.
        on_progress: Called about twice a second, from this thread.
        retry_failed: Run failed trials again.
        started_by: Who asks for it; written down with the study.

    Returns:
        How the session ended. Failed trials do not raise: they are in the summary and in the table `trials`.

    Raises:
        InvalidRecipeError: If the space holds a recipe that cannot run; nothing has run then.
        StoreUnavailableError: If the store stays away or its disk is full; the next call goes on, and tries again what
            needed it.
        CcRayError: If there is no cluster to work on.
    """
    agenda = take_stock(space, store, retry_failed=retry_failed)
    study = Study(agenda, store, plan_agenda(agenda, store).estimated_s, started_by)
    if not agenda.count and is_recorded(store, agenda.space):
        return study.summary("finished")
    session = _Session(study, store, on_progress or _ignore)
    with session.recorded():
        session.run(address)
    summary = replace(study.close(session.stopped), interrupted=session.interrupted)
    compact_if_worthwhile(store)
    return summary


def coordinators(cpus: int, memory_bytes: float) -> int:
    """Trials at work at once: some wait for others' steps, and every CPU is to be busy.

    Args:
        cpus: Those of the cluster.
        memory_bytes: What Ray may use of the driver's machine, where the coordinators are.
    """
    return min(2 * cpus + 2, max(4, int(memory_bytes // _COORDINATOR_BYTES)))


class _Session:
    """One call of `explore`."""

    def __init__(self, study: Study, store: Store, on_progress: OnProgress) -> None:
        self.study = study
        self.stopped: str | None = None
        self.interrupted = False
        """Somebody stopped it, by a signal or a request."""
        self._unavailable: str | None = None
        """Why the store could not be used, by this process or by a step."""
        self._store = store
        self._on_progress = on_progress
        self._next_tick = 0.0
        self._name = uuid.uuid4().hex
        self._root = str(store.root)
        self._pulse = Pulse(self._root, self._name)
        self._inbox = Inbox(store, study.study_id)
        self._cpus = 0
        self._memory_bytes = 0.0
        """What Ray may use of this machine."""
        self._cancelled = False
        self._handlers: dict[signal.Signals, Any] = {}
        """What was there for each signal before this session."""
        budget_s = study.agenda.space.time_budget_s
        self._deadline = None if budget_s is None else time.monotonic() + budget_s
        self._needs = needs_of(study.agenda.space, operations_of(study.agenda.space))

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Write that the study failed, or was stopped, where it ends by an exception."""
        try:
            with self._on_signals():
                yield
        except BaseException as error:
            # Whatever ended the session is what is told, even where the store takes no rows of it.
            with suppress(StoreUnavailableError):
                self.study.close(f"{type(error).__name__}: {error}", failed=isinstance(error, Exception))
            raise

    def run(self, address: str | None) -> None:
        self.study.begin()
        self.tick()
        left = self.study.finish_known()
        count = len(left) + self.study.agenda.count - len(self.study.agenda.to_run)
        if not count:
            return
        with connected(address):
            self._listen()
            await_nodes(self._needs, self._waits)
            self.study.resources = ray.cluster_resources()
            if self.stopped:
                return
            self._cpus = cpus()
            # Started here, the actor lives as long as this process wants it.
            steps_actor(self._root)
            try:
                warm_up(self.study.agenda.task.to_json(), min(self._cpus, count))
                self._tune(self._sampler(left), count)
            finally:
                self._cpus = 0
                release_actor(self._root)
        if self._unavailable:
            raise StoreUnavailableError(self._unavailable)

    def give_up(self, reason: str) -> None:
        """End, because the store cannot be used; what needed it is for the next session."""
        waited_already(self._store.layout)
        self._unavailable = self._unavailable or reason
        self.stopped = self.stopped or reason

    @contextmanager
    def needing_store(self) -> Iterator[None]:
        """Give up where the store cannot be used: an error would reach the user through Tune as a traceback."""
        try:
            yield
        except StoreUnavailableError as error:
            self.give_up(str(error))

    def should_stop(self) -> bool:
        """Whether to end before all trials have; work under way is cancelled then."""
        if not self.stopped and self._deadline is not None and time.monotonic() > self._deadline:
            self.stopped = f"time budget of {self.study.agenda.space.time_budget_s:g} s"
        self.stopped = self.stopped or self.study.enough()
        if self.stopped and not self._cancelled:
            self._cancelled = True
            cancel(self._root, self._name)
        return self.stopped is not None

    def room(self) -> int:
        """Trials that may be at work at once; an autoscaler's nodes make room for more."""
        return coordinators(self._cpus, self._memory_bytes)

    def tick(self, waits_for: str = "") -> None:
        """Report progress, unless it has been reported a moment ago."""
        if time.monotonic() >= self._next_tick and not self._unavailable:
            ready = 0
            if self._cpus:
                self._cpus = max(1, cpus())
                beat = self._pulse.beat()
                self.study.learn(beat.made)
                ready = min(beat.ready, self._cpus)
            with self.needing_store():
                self.study.flush()
                self._heed()
            self._on_progress(self.study.progress(ready, waits_for))
            self._next_tick = time.monotonic() + _TICK_S

    def _heed(self) -> None:
        """Do what somebody asked for."""
        for request in self._inbox.new():
            if request.trial_id is None:
                self.stopped, self.interrupted = self.stopped or request.reason, True
            elif dropped := self.study.drop(request.trial_id, request.reason):
                recipe, alone = dropped
                if self._cpus:  # Else none has begun.
                    stop_trial(self._root, self._name, recipe.model_ids(self.study.task_id), alone)

    def _waits(self, what: str) -> bool:
        """Tell that a node is waited for; False when the session is to stop."""
        self.tick(what)
        return not self.should_stop()

    def _sampler(self, left: list[Recipe]) -> Sampler:
        agenda = self.study.agenda
        if not agenda.space.guided:
            return Listed(left)
        # Imported here: only such studies need Optuna.
        from cc_ray.search.guided import Guided

        waiting, task_id = set(left), self.study.task_id
        done = [*agenda.finished, *(recipe for recipe in agenda.to_run if recipe not in waiting)]
        known = waiting.union(done, (state.recipe for state in agenda.failed))
        others = {
            model_id: recipe
            for model_id, recipe in recipes_of(self._store, task_id)
            if recipe not in known and answers_for(agenda.space, recipe) is not None
        }
        last = {recipe: recipe.model_ids(task_id)[-1] for recipe in done}
        metrics = metrics_by_model(self._store, {*last.values(), *others})
        past: list[tuple[Recipe, Mapping[str, float] | None]] = [(recipe, metrics[last[recipe]]) for recipe in done]
        past.extend((state.recipe, None) for state in agenda.failed)
        elsewhere = [(recipe, metrics[model_id]) for model_id, recipe in others.items()]
        count = len(left) + agenda.count - len(agenda.to_run)
        stopped = [state.recipe for state in agenda.stopped]
        return Guided(agenda.space, past=past, others=elsewhere, stopped=stopped, first=left, count=count)

    def _tune(self, sampler: Sampler, count: int) -> None:
        task = self.study.agenda.task.to_json()
        limit_s = self.study.agenda.space.step_time_limit_s
        contest, names = contest_of(self.study.agenda.space), (self.study.study_id, self._name)
        job = Job(self._root, task, self.study.task_id, Recipe(""), *names, self._needs, limit_s, contest)
        self._memory_bytes = _this_node()["Resources"].get("memory", 0.0)
        # Of these only as many are at work as there is `room` for.
        width = min(count, coordinators(_MANY_CPUS, self._memory_bytes))
        again: list[Recipe] = []
        for _ in range(_PATIENCE):
            search = _Search(self, sampler, again)
            try:
                self._fit(job, search, count, width)
            except RuntimeError as error:
                if not isinstance(error.__cause__, OutOfMemoryError):
                    raise
                # Tune knows no coordinator whose memory is taken away, and ends.
                again, count = list(search.recipes.values()), count - search.ended
            else:
                return
        raise CcRayError(f"the memory of this machine ran out {_PATIENCE} times; run less on it at once.")

    def _fit(self, job: Job, search: _Search, count: int, width: int) -> None:
        # A coordinator that is lost begins again; Tune would print a traceback.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        with tempfile.TemporaryDirectory(prefix="cc-ray-tune-") as folder, _environment(width):
            tune.Tuner(
                tune.with_resources(tune.with_parameters(coordinate, job=job), _coordinator_resources()),
                tune_config=tune.TuneConfig(
                    search_alg=search,
                    scheduler=_InOrder(),
                    num_samples=count,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name=self._name,
                    storage_path=folder,
                    callbacks=[_Watch(self, search)],
                    stop=_Stop(self),
                    failure_config=tune.FailureConfig(max_failures=_PATIENCE),
                    verbose=0,
                ),
            ).fit()

    @contextmanager
    def _on_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # Tune leaves a handler for SIGUSR1 behind.
        self._handlers = {number: signal.getsignal(number) for number in (*_STOPPING, signal.SIGUSR1)}
        self._listen()
        try:
            yield
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _listen(self) -> None:
        """End the session cleanly on a signal; asked again after a connection, which puts a handler of Ray's there."""
        for number in _STOPPING if self._handlers else ():
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: object) -> None:
        self.stopped = f"stopped by {signal.Signals(number).name}"
        self.interrupted = True
        signal.signal(number, self._handlers[signal.Signals(number)])


class _NotRestored:
    """Leaves nothing in the snapshots that Tune makes of its settings: the store is what a study resumes from."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Search(_NotRestored, Searcher):  # type: ignore[misc]
    """Gives Tune the recipes of a sampler, and the study the results of Tune's trials."""

    def __init__(self, session: _Session, sampler: Sampler, again: Iterable[Recipe]) -> None:
        super().__init__()
        self._session = session
        self._sampler = sampler
        self._again = iter(again)
        """Recipes that the sampler gave before."""
        self.recipes: dict[str, Recipe] = {}
        """Those under way."""
        self.ended = 0

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if len(self.recipes) >= self._session.room():
            return None
        recipe = self._next()
        if recipe is None:
            return str(Searcher.FINISHED)
        self.recipes[trial_id] = recipe
        study = self._session.study
        lasting = recipe.model_ids(study.task_id)[-1] in study.agenda.lasting
        return {"recipe": json.dumps(recipe.to_json()), "lasting": lasting}

    def _next(self) -> Recipe | None:
        """The next recipe, those left out that were stopped before they began."""
        while (recipe := next(self._again, None) or self._sampler.next()) and self._session.study.is_dropped(recipe):
            self._sampler.tell(recipe, None, stopped=True)
        return recipe

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        if self._session.stopped:
            return
        recipe = self.recipes.pop(trial_id)
        self.ended += 1
        if result and result.get("unavailable"):
            self._session.give_up(result["reason"])
            return
        if error or not result or "made" not in result:
            chain = Chain(0, 0, Outcome("", "the trial's coordinator was lost several times"))
        else:
            reason, stopped = result["reason"], result["stopped"]
            failure = Outcome(result["failed_step"], reason, stopped=stopped) if reason else None
            chain = Chain(result["made"], result["reused"], failure, result["cpu_s"], result["gpu_s"])
        with self._session.needing_store():
            values = self._session.study.ended(recipe, chain)
            stopped = chain.state == "stopped" or self._session.study.is_dropped(recipe)
            self._sampler.tell(recipe, values, stopped=stopped)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save, as above."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""


class _Watch(_NotRestored, tune.Callback):  # type: ignore[misc]
    """Hears of trials that begin, and of time that passes."""

    def __init__(self, session: _Session, search: _Search) -> None:
        self._session = session
        self._search = search

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        with self._session.needing_store():
            self._session.study.started(self._search.recipes[trial.trial_id])

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        with self._session.needing_store():
            self._session.tick()


class _InOrder(_NotRestored, FIFOScheduler):  # type: ignore[misc]
    """Begins trials in the order in which they come; Tune's own goes through all that have ended, too, each time."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[str, int] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._places.setdefault(trial.trial_id, len(self._places))

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        waiting = [trial for trial in tune_controller.get_live_trials() if trial.status in ("PENDING", "PAUSED")]
        return min(waiting, key=lambda trial: (trial.status == "PAUSED", self._places[trial.trial_id]), default=None)


class _Stop(_NotRestored, tune.Stopper):  # type: ignore[misc]
    """Ends all trials when the session is to stop."""

    def __init__(self, session: _Session) -> None:
        self._session = session

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._session.should_stop()


def _coordinator_resources() -> Any:
    """A sliver of the driver's machine and no CPU: there Tune's folder is, and every machine has the resource."""
    return tune.PlacementGroupFactory([{f"node:{_this_node()['NodeManagerAddress']}": 0.001}])


def _this_node() -> Any:
    here = ray.get_runtime_context().get_node_id()
    return next(node for node in ray.nodes() if node["NodeID"] == here)


@contextmanager
def _environment(width: int) -> Iterator[None]:
    """Tune takes some settings from the environment only."""
    settings = {**_SETTINGS, "TUNE_MAX_PENDING_TRIALS_PG": str(width)}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _ignore(progress: Progress) -> None:
    pass
