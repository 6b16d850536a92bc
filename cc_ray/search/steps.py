"""Steps on a cluster: each runs once, however many trials need it.

One named actor per store hands out running Ray tasks: whoever asks for a step that is under way gets the same task.
The actor holds nothing that matters. The store says what exists; if the actor is lost, its tasks are lost with it and
whoever waits asks a new one; and two executions of one step would be harmless, because the first to publish wins.

Neither the actor nor those who wait import torch: only the workers that run steps do.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, get_args

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError

from cc_ray.recipe import step_name
from cc_ray.reports import Report
from cc_ray.search.early_stopping import Contest, Decision
from cc_ray.search.needs import options
from cc_ray.search.reporting import reports_of
from cc_ray.search.work import MEMORY, NAMESPACE, Beat, Job, Key, Kind, Outcome, Ticket, actor_name, one_line
from cc_ray.search.worker import RETRIES, Worker, execute
from cc_ray.store import Store

if TYPE_CHECKING:
    from cc_ray.search.referee import Referee

_SESSIONS: Final = 8
"""Failures and new models of so many sessions are remembered."""

_actors: dict[str, ActorHandle] = {}
"""Handles of this process, by store. Ray ends an actor when the handle that started it is gone."""


def steps_actor(root: str) -> ActorHandle:
    """The actor of a store, started if there is none.

    It lives until the process that started it ends or calls `release_actor`.
    """
    if root not in _actors:
        options = {"name": actor_name(root), "namespace": NAMESPACE, "get_if_exists": True}
        _actors[root] = ray.remote(Steps).options(**options, num_cpus=0, max_restarts=-1).remote(root)
    return _actors[root]


def release_actor(root: str) -> None:
    """Let go of the actor of a store, which ends it if this process started it."""
    _actors.pop(root, None)


def cancel(root: str, session: str) -> None:
    """Stop what only one session asked for. Whatever is published stays."""
    steps_actor(root).cancel.remote(session)


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
        self._referees: dict[tuple[str, Contest], Referee] = {}

    async def request(self, job: Job) -> list[Ticket]:
        """Start what a trial needs and is neither there nor under way."""
        tickets: list[Ticket] = []
        before: ObjectRef | Outcome = Outcome()
        for index, model_id in enumerate(job.recipe.model_ids(job.task_id)):
            for kind in get_args(Kind):
                ticket = self._ticket(job, kind, index, model_id, before)
                tickets.append(ticket)
                before = ticket.work if kind == "step" else before
        return tickets

    async def began(self, key: Key, worker: Worker, time_limit_s: float | None) -> None:
        """Hear that a worker takes up a piece of work; it is ended after its time, or where too many died of it."""
        if under_way := self._under_way.get(key):
            under_way.attempts += 1
            if under_way.attempts > 1 + RETRIES:
                # Ray itself goes on without end where it was memory that ran out.
                self._end(key, f"{RETRIES + 1} workers died of it, one after the other. {MEMORY}")
            elif time_limit_s is not None:
                under_way.let_run(asyncio.ensure_future(self._expire(key, worker, time_limit_s)))

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

    async def beat(self, session: str) -> Beat:
        """How the work of a session stands; see `Pulse`."""
        ready = sum(1 for work in self._under_way.values() if work.before not in self._under_way)
        return Beat(ready, tuple(self._made.pop(session, ())))

    async def cancel(self, session: str) -> None:
        """Cancel the tasks that no other session waits for."""
        for work in self._under_way.values():
            work.sessions.discard(session)
            if not work.sessions:
                ray.cancel(work.task, force=True)

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
        task = execute.options(name=f"{kind}: {name}", **options(job.asked(kind, index))).remote(
            job, kind, index, before
        )
        ids = job.recipe.model_ids(job.task_id)
        parent: Key = ("step", ids[index] if kind == "latency" else ids[max(0, index - 1)])
        under_way = self._under_way[key] = _UnderWay(task, name, parent if parent != key else None)
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
            if outcome.failed_step and outcome.stopped in ("", model_id):
                self._failures.setdefault(session, {})[key] = outcome
            elif kind == "step" and not outcome.failed_step:
                self._made.setdefault(session, []).append(model_id)
        for remembered in (self._failures, self._made):
            while len(remembered) > _SESSIONS:
                remembered.popitem(last=False)

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

    def let_run(self, timer: asyncio.Future[None] | None) -> None:
        """Put a timer in the place of the last one: a worker that died is followed by another."""
        if self.timer:
            self.timer.cancel()
        self.timer = timer
