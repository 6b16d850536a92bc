"""Steps on a cluster: each runs once, however many trials need it.

One named actor per store hands out running Ray tasks: whoever asks for a step that is under way gets the same task.
The actor holds nothing that matters. The store says what exists; if the actor is lost, its tasks are lost with it and
whoever waits asks a new one; and two executions of one step would be harmless, because the first to publish wins.

Neither the actor nor those who wait import torch: only the workers that run steps do.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError

from cc_ray.recipe import step_name
from cc_ray.reports import Report
from cc_ray.search.early_stopping import Contest, Decision
from cc_ray.search.needs import options
from cc_ray.search.reporting import reports_of
from cc_ray.search.turns import Turns
from cc_ray.search.work import MEMORY, NAMESPACE, Beat, Job, Key, Kind, Outcome, Running, Ticket, actor_name, one_line
from cc_ray.search.worker import RETRIES, Worker, execute, execute_on_gpu
from cc_ray.store import Store

if TYPE_CHECKING:
    from cc_ray.search.referee import Referee

_SESSIONS: Final = 8
"""Failures and new models of so many sessions are remembered."""
_CALLS: Final = 10_000
"""Calls that may wait at once: one for each trial that is under way."""

_actors: dict[str, ActorHandle] = {}
"""Handles of this process, by store. Ray ends an actor when the handle that started it is gone."""


def steps_actor(root: str) -> ActorHandle:
    """The actor of a store, started if there is none.

    It lives until the process that started it ends or calls `release_actor`.
    """
    if root not in _actors:
        options = {"name": actor_name(root), "namespace": NAMESPACE, "get_if_exists": True}
        held = ray.remote(Steps).options(**options, num_cpus=0, max_restarts=-1, max_concurrency=_CALLS)
        _actors[root] = held.remote(root)
    return _actors[root]


def release_actor(root: str) -> None:
    """Let go of the actor of a store, which ends it if this process started it."""
    _actors.pop(root, None)


def cancel(root: str, session: str) -> None:
    """Stop what only one session asked for. Whatever is published stays."""
    steps_actor(root).cancel.remote(session)


def stop_trial(root: str, session: str, recipe: Sequence[str], alone: Collection[str]) -> None:
    """Stop what only one trial of a session needs; see `Steps.stop_trial`."""
    steps_actor(root).stop_trial.remote(session, tuple(recipe), frozenset(alone))


class Steps:
    """The actor's body.

    Args:
        root: Folder or URL of the store.
    """

    def __init__(self, root: str) -> None:
        self._store = Store.known(root)
        self._under_way: dict[Key, _UnderWay] = {}
        self._failures: OrderedDict[str, dict[Key, Outcome]] = OrderedDict()
        self._made: OrderedDict[str, list[str]] = OrderedDict()
        """Models that sessions have not been told of yet."""
        self._dropped: OrderedDict[str, set[str]] = OrderedDict()
        """Last models of the trials that were stopped, by session."""
        self._referees: dict[tuple[str, Contest], Referee] = {}
        self._turns = Turns(self._ready)

    async def request(self, job: Job) -> list[Ticket]:
        """Start the steps that a trial needs and that are neither there nor under way; none of one that was stopped."""
        ids = job.recipe.model_ids(job.task_id)
        if ids[-1] in self._dropped.get(job.session, ()):
            return [Ticket("step", 0, False, Outcome(step_name(job.recipe), "the trial was stopped"))]
        tickets: list[Ticket] = []
        before: ObjectRef | Outcome = Outcome()
        for index, model_id in enumerate(ids):
            tickets.append(self._ticket(job, "step", index, model_id, before))
            before = tickets[-1].work
        return tickets

    async def time(self, job: Job, models: int) -> list[Ticket]:
        """Start the timings of a recipe's first models, which are there, when it is the trial's turn.

        Nothing is started where its session was cancelled meanwhile.
        """
        ids = job.recipe.model_ids(job.task_id)[:models]
        if not all(self._store.has("latency", id) for id in ids) and not await self._turns.wait(job.session):
            return []
        return [self._ticket(job, "latency", index, id, Outcome()) for index, id in enumerate(ids)]

    async def began(self, key: Key, worker: Worker, time_limit_s: float | None) -> None:
        """Hear that a worker takes up a piece of work; it is ended after its time, or where too many died of it."""
        if under_way := self._under_way.get(key):
            under_way.attempts += 1
            under_way.worker, under_way.began_at = worker, time.time()
            if under_way.attempts > 1 + RETRIES:
                # Ray itself goes on without end where it was memory that ran out.
                self._end(key, f"{RETRIES + 1} workers died of it, one after the other. {MEMORY}")
            elif time_limit_s is not None:
                under_way.let_run(asyncio.ensure_future(self._expire(key, worker, time_limit_s)))

    async def waited(self, key: Key, worker: Worker, time_limit_s: float | None) -> None:
        """Hear that its worker waits for a turn on the machine (None), or has it: the limit counts from then on."""
        under_way = self._under_way.get(key)
        if under_way and under_way.worker == worker and not under_way.ended:
            expiry = None if time_limit_s is None else self._expire(key, worker, time_limit_s)
            under_way.let_run(None if expiry is None else asyncio.ensure_future(expiry))

    async def report(self, job: Job, contest: Contest, report: Report) -> Decision:
        """Hear what a model under way is worth, and decide whether its step goes on."""
        model_id = job.recipe.model_ids(job.task_id)[-1]
        decision = self._referee(job, contest).judge(model_id, report)
        under_way = self._under_way.get(("step", model_id))
        lasts = under_way is None or under_way.lasts
        return replace(decision, verb="spare") if decision.verb == "stop" and lasts else decision

    async def failure(self, key: Key, session: str) -> Outcome | None:
        """Why a piece of work failed, once that is known."""
        under_way = self._under_way.get(key)
        if under_way and under_way.waiter:
            await asyncio.wait([under_way.waiter])
        return self._failures.get(session, {}).get(key)

    async def running(self) -> list[Running]:
        """The work that workers have taken up."""
        now = time.time()
        return [
            Running(kind, work.name, work.worker.node_id, now - work.began_at)
            for (kind, _), work in self._under_way.items()
            if work.worker
        ]

    async def stop_trial(self, session: str, recipe: Sequence[str], alone: Collection[str]) -> None:
        """End the work of a trial that somebody stopped.

        Args:
            session: Its session.
            recipe: Its models.
            alone: Those that no other trial of the session waits for.
        """
        self._dropped.setdefault(session, set()).add(recipe[-1])
        _keep(self._dropped)
        for (_, model_id), work in self._under_way.items():
            if model_id in alone and work.sessions == {session}:
                work.dropped = True
                ray.cancel(work.task, force=True)

    async def beat(self, session: str) -> Beat:
        """How the work of a session stands; see `Pulse`."""
        return Beat(len(self._able()), tuple(self._made.pop(session, ())))

    async def cancel(self, session: str) -> None:
        """Cancel the tasks that no other session waits for."""
        self._turns.cancel(session)
        for work in self._under_way.values():
            work.sessions.discard(session)
            if not work.sessions:
                ray.cancel(work.task, force=True)

    def _able(self) -> list[Kind]:
        """Kinds of the tasks that wait for no other task."""
        return [kind for (kind, _), work in self._under_way.items() if work.before not in self._under_way]

    def _ready(self) -> int:
        return self._able().count("step")

    def _ticket(self, job: Job, kind: Kind, index: int, model_id: str, before: ObjectRef | Outcome) -> Ticket:
        key: Key = (kind, model_id)
        # The store comes first: it may have been extended by others, or emptied.
        if self._store.has(kind, model_id):
            return Ticket(kind, index, False, Outcome())
        failure = self._failures.get(job.session, {}).get(key)
        if failure and (not failure.stopped or job.may_stop(kind, index)):
            return Ticket(kind, index, False, failure)
        if isinstance(before, Outcome) and before.failed_step:
            return Ticket(kind, index, False, before)
        under_way = self._under_way.get(key)
        made = under_way is None
        if under_way is None:
            under_way = self._start(job, kind, index, key, before)
        under_way.sessions.add(job.session)
        under_way.lasts |= not job.may_stop(kind, index)
        return Ticket(kind, index, made, under_way.task)

    def _start(self, job: Job, kind: Kind, index: int, key: Key, before: ObjectRef | Outcome) -> _UnderWay:
        name = step_name(job.recipe.prefix(index))
        asked = job.asked(kind, index)
        work = execute_on_gpu if asked.gpus else execute
        task = work.options(name=f"{kind}: {name}", **options(asked)).remote(job, kind, index, before)
        follows = kind == "step" and index > 0
        parent: Key | None = ("step", job.recipe.model_ids(job.task_id)[index - 1]) if follows else None
        under_way = self._under_way[key] = _UnderWay(task, name, parent)
        under_way.waiter = asyncio.ensure_future(self._settle(key, under_way))
        return under_way

    async def _settle(self, key: Key, under_way: _UnderWay) -> None:
        try:
            outcome: Outcome = await under_way.task
        except RayError as error:
            outcome = Outcome(under_way.name, under_way.ended or one_line(error))
        under_way.let_run(None)
        del self._under_way[key]
        kind, model_id = key
        for session in under_way.sessions:
            if under_way.dropped:
                continue  # Another trial may still ask for it.
            if outcome.failed_step and outcome.stopped in ("", model_id):
                self._failures.setdefault(session, {})[key] = outcome
            elif kind == "step" and not outcome.failed_step:
                self._made.setdefault(session, []).append(model_id)
        self._turns.look()
        _keep(self._failures)
        _keep(self._made)

    def _referee(self, job: Job, contest: Contest) -> Referee:
        # Imported here: only studies with early stopping need Optuna.
        from cc_ray.search.referee import Referee

        key = (job.study_id, contest)
        if key not in self._referees:
            rows = reports_of(self._store, job.study_id, job.task_id, contest.stopping.metric)
            self._referees[key] = Referee(contest, rows)
        return self._referees[key]

    async def _expire(self, key: Key, worker: Worker, time_limit_s: float) -> None:
        await asyncio.sleep(time_limit_s)
        # One that died is followed by another, which may have to wait for a CPU before it says that it begins.
        if await worker.lives():
            self._end(key, f"it took longer than its limit of {time_limit_s:g} s")

    def _end(self, key: Key, reason: str) -> None:
        if under_way := self._under_way.get(key):
            under_way.ended = reason
            ray.cancel(under_way.task, force=True)


def _keep(remembered: OrderedDict[str, Any]) -> None:
    while len(remembered) > _SESSIONS:
        remembered.popitem(last=False)


@dataclass
class _UnderWay:
    task: ObjectRef
    name: str
    before: Key | None
    """The work that this one waits for."""
    sessions: set[str] = field(default_factory=set)
    waiter: asyncio.Future[None] | None = None
    """Held, because the event loop itself holds only weak references."""
    lasts: bool = False
    """Somebody needs it made to the end."""
    timer: asyncio.Future[None] | None = None
    """Ends it after its time."""
    attempts: int = 0
    """Workers that took it up."""
    ended: str = ""
    """Why it was ended."""
    worker: Worker | None = None
    """Who took it up last; None while it waits."""
    began_at: float = 0.0
    """When that was, in seconds since the epoch."""
    dropped: bool = False
    """It is cancelled because somebody stopped its trial."""

    def let_run(self, timer: asyncio.Future[None] | None) -> None:
        """Put a timer in the place of the last one: a worker that died is followed by another."""
        if self.timer:
            self.timer.cancel()
        self.timer = timer
