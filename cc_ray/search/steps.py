"""Steps on a cluster: each runs once, however many trials need it.

One named actor per store hands out running Ray tasks: whoever asks for a step that is under way gets the same task.
The actor holds nothing that matters. The store says what exists; if the actor is lost, its tasks are lost with it and
whoever waits asks a new one; and two executions of one step would be harmless, because the first to publish wins.

Neither the actor nor those who wait import torch: only the workers that run steps do.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, ObjectLostError, OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cc_ray.errors import CcRayError, StoppedEarlyError, StoreUnavailableError, TrialFailedError
from cc_ray.recipe import BASE_STEP, Recipe, identity, step_name
from cc_ray.reports import Report
from cc_ray.resources import Resources
from cc_ray.search.early_stopping import Contest, Decision
from cc_ray.search.needs import LATENCY, Needs, options
from cc_ray.search.reporting import Reporter, reports_of
from cc_ray.store import Store

if TYPE_CHECKING:
    from cc_ray.search.referee import Referee

Kind = Literal["step", "latency"]
_Key = tuple[Kind, str]
"""Kind of batch and model."""

_NAMESPACE: Final = "cc-ray"
_RETRIES: Final = 3
"""A task whose worker or node dies is run again so many times."""
_PATIENCE: Final = 10
"""An actor that is lost is asked again so many times."""
_MEMORY: Final = (
    "Where steps need more memory than there is, let them ask for theirs by `resources` of the search space "
    "(`memory_bytes`), so that fewer run at once, or add a larger machine."
)
_ANSWER_S: Final = 60.0
"""How long a node may take to say whether a process of it lives."""
_SESSIONS: Final = 8
"""Failures and new models of so many sessions are remembered."""
_DECISION_S: Final = 30.0
"""A step that has no answer to its report after this time goes on."""
_LOST: Final = (ObjectLostError, RayActorError)
"""What is raised when the actor is gone, and with it the tasks that it owned.

Where it is gone because memory ran out, calls of it raise the same as a task that is tried no more.
"""

_actors: dict[str, ActorHandle] = {}
"""Handles of this process, by store. Ray ends an actor when the handle that started it is gone."""


@dataclass(frozen=True)
class Job:
    """What a trial needs done; plain data, so that workers need no search-space file."""

    root: str
    """Folder of the store."""
    task: Mapping[str, Any]
    """What `Task.to_json` gave."""
    task_id: str
    recipe: Recipe
    """Canonical."""
    study_id: str
    session: str
    """Names one call of `explore`: what failed in it is not tried again within it."""
    needs: Needs = field(default_factory=dict)
    """What its steps ask for, by operation; one CPU where an operation is not named."""
    time_limit_s: float | None = None
    """A step that takes longer is ended and fails."""
    contest: Contest | None = None
    """Decides about the last step while it is under way; None has it made to the end."""

    def may_stop(self, kind: Kind, index: int) -> bool:
        """Whether a piece of its work may be ended because it does badly."""
        return self.contest is not None and kind == "step" and 0 < index == len(self.recipe.steps)

    def asked(self, kind: Kind, index: int) -> Resources:
        """What a piece of its work asks for."""
        step = self.recipe.steps[index - 1].operation if index else BASE_STEP
        return self.needs.get(LATENCY if kind == "latency" else step, Resources())


@dataclass(frozen=True)
class Outcome:
    """How one piece of work ended: its batch is in the store, or a step failed or was stopped early."""

    failed_step: str = ""
    """The step that failed or was stopped, this one or one before it; empty where nothing was."""
    reason: str = ""
    """Why, in one line."""
    duration_s: float = 0.0
    """How long it took, where it was executed."""
    stopped: str = ""
    """The model whose step was stopped early; empty where it failed."""
    unavailable: bool = False
    """It failed because the store could not be used, which is no fault of the recipe."""


@dataclass(frozen=True)
class Ticket:
    """One piece of a trial's work, as the actor hands it out."""

    kind: Kind
    index: int
    """Number of steps from the base model."""
    made: bool
    """It was started for this request."""
    work: ObjectRef | Outcome
    """The running task, or the outcome where it is known already."""


@dataclass(frozen=True)
class Chain:
    """How the work of one trial ended."""

    made: int
    """Models that were made at this trial's request."""
    reused: int
    """Models that were in the store, or in the making for another trial."""
    failure: Outcome | None = None
    """The first piece of work that failed."""
    cpu_s: float = 0.0
    """Time that work at this trial's request held CPUs, times their number."""
    gpu_s: float = 0.0
    """The same of GPUs."""

    @property
    def state(self) -> str:
        """Of the trial: finished, failed or stopped (early)."""
        if self.failure is None:
            return "finished"
        return "stopped" if self.failure.stopped else "failed"


@dataclass(frozen=True)
class Worker:
    """The process that a piece of work runs in."""

    node_id: str
    pid: int

    async def lives(self) -> bool:
        """Whether the process is there; taken for granted of a node that does not answer."""
        there = NodeAffinitySchedulingStrategy(self.node_id, soft=False)
        asked = _is_running.options(scheduling_strategy=there).remote(self.pid)
        try:
            return bool(await asyncio.wait_for(asked, _ANSWER_S))
        except TimeoutError:
            return True
        except RayError:  # The node is gone.
            return False


def complete(job: Job) -> Chain:
    """Have every model of a recipe made, measured and timed; return when all is in the store or a step failed.

    Raises:
        StoreUnavailableError: If the actor cannot use the store.
        CcRayError: If the cluster keeps losing the work.
    """
    made: dict[tuple[Kind, int], Outcome] = {}
    own = job.recipe.model_ids(job.task_id)[-1] if job.contest else ""
    lost = "its steps were stopped early for others"
    for attempt in range(_PATIENCE):
        try:
            chain = _attempt(job, made)
            # A step that was ended for others, just when this trial asked for its model, is asked for again.
            if chain.failure is None or chain.failure.stopped in ("", own):
                return chain
        except (*_LOST, OutOfMemoryError) as error:
            lost = _one_line(error)
            if isinstance(error, ActorDiedError):
                release_actor(job.root)
        except RayTaskError as error:
            if isinstance(error.cause, StoreUnavailableError):
                raise error.cause from None
            raise
        time.sleep(min(5.0, 0.2 * 2**attempt))
    raise CcRayError(f"the cluster lost the steps of '{job.recipe}' {_PATIENCE} times: {lost}")


def steps_actor(root: str) -> ActorHandle:
    """The actor of a store, started if there is none.

    It lives until the process that started it ends or calls `release_actor`.
    """
    if root not in _actors:
        options = {"name": _actor_name(root), "namespace": _NAMESPACE, "get_if_exists": True}
        _actors[root] = ray.remote(Steps).options(**options, num_cpus=0, max_restarts=-1).remote(root)
    return _actors[root]


def _actor_name(root: str) -> str:
    return f"steps-{identity(root)}"


def release_actor(root: str) -> None:
    """Let go of the actor of a store, which ends it if this process started it."""
    _actors.pop(root, None)


@dataclass(frozen=True)
class Beat:
    """How the work of a session stands, as the actor tells it."""

    ready: int = 0
    """Tasks that wait for no other task: the cluster runs as many of them as it has CPUs."""
    made: tuple[str, ...] = ()
    """Models that were made for the session since it was last asked."""


class Pulse:
    """Asks the actor how a session's work stands and never waits for the answer: a figure on the screen can be late.

    Args:
        root: Folder of the store.
        session: The session.
    """

    def __init__(self, root: str, session: str) -> None:
        self._root = root
        self._session = session
        self._asked: ObjectRef | None = None
        self._ready = 0

    def beat(self) -> Beat:
        """The answer to the question before, if it has come; what was made is told once."""
        if self._asked is not None:
            if not ray.wait([self._asked], timeout=0)[0]:
                return Beat(self._ready)
            found = self._answer(self._asked)
        else:
            found = Beat()
        self._asked = steps_actor(self._root).beat.remote(self._session)
        self._ready = found.ready
        return found

    def _answer(self, asked: ObjectRef) -> Beat:
        try:
            found: Beat = ray.get(asked)
        except ActorDiedError:
            release_actor(self._root)
        except RayError:  # It is being started anew.
            pass
        else:
            return found
        return Beat()


def cancel(root: str, session: str) -> None:
    """Stop what only one session asked for. Whatever is published stays."""
    steps_actor(root).cancel.remote(session)


def warm_up(task: Mapping[str, Any], workers: int) -> None:
    """Let workers import what the steps of a task need while its trials are still being set up."""
    for _ in range(workers):
        _warm.remote(task)


class Steps:
    """The actor's body.

    Args:
        root: Folder of the store.
    """

    def __init__(self, root: str) -> None:
        self._store = Store.known(root)
        self._under_way: dict[_Key, _UnderWay] = {}
        self._failures: OrderedDict[str, dict[_Key, Outcome]] = OrderedDict()
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

    async def began(self, key: _Key, worker: Worker, time_limit_s: float | None) -> None:
        """Hear that a worker takes up a piece of work; it is ended after its time, or where too many died of it."""
        if under_way := self._under_way.get(key):
            under_way.attempts += 1
            if under_way.attempts > 1 + _RETRIES:
                # Ray itself goes on without end where it was memory that ran out.
                self._end(key, f"{_RETRIES + 1} workers died of it, one after the other. {_MEMORY}")
            elif time_limit_s is not None:
                under_way.let_run(asyncio.ensure_future(self._expire(key, worker, time_limit_s)))

    async def report(self, job: Job, contest: Contest, report: Report) -> Decision:
        """Hear what a model under way is worth, and decide whether its step goes on."""
        model_id = job.recipe.model_ids(job.task_id)[-1]
        decision = self._referee(job, contest).judge(model_id, report)
        under_way = self._under_way.get(("step", model_id))
        lasts = under_way is None or under_way.lasts
        return replace(decision, verb="spare") if decision.verb == "stop" and lasts else decision

    async def failure(self, key: _Key, session: str) -> Outcome | None:
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
        key: _Key = (kind, model_id)
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

    def _start(self, job: Job, kind: Kind, index: int, key: _Key, before: ObjectRef | Outcome) -> _UnderWay:
        name = step_name(job.recipe.prefix(index))
        task = _work.options(name=f"{kind}: {name}", **options(job.asked(kind, index))).remote(job, kind, index, before)
        ids = job.recipe.model_ids(job.task_id)
        parent: _Key = ("step", ids[index] if kind == "latency" else ids[max(0, index - 1)])
        under_way = self._under_way[key] = _UnderWay(task, name, parent if parent != key else None)
        under_way.waiter = asyncio.ensure_future(self._settle(key, under_way))
        return under_way

    async def _settle(self, key: _Key, under_way: _UnderWay) -> None:
        try:
            outcome: Outcome = await under_way.task
        except RayError as error:
            outcome = Outcome(under_way.name, under_way.ended or _one_line(error))
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

    async def _expire(self, key: _Key, worker: Worker, time_limit_s: float) -> None:
        await asyncio.sleep(time_limit_s)
        # One that died is followed by another, which may have to wait for a CPU before it says that it begins.
        if await worker.lives():
            self._end(key, f"it took longer than its limit of {time_limit_s:g} s")

    def _end(self, key: _Key, reason: str) -> None:
        if under_way := self._under_way.get(key):
            under_way.ended = reason
            ray.cancel(under_way.task, force=True)


@dataclass
class _UnderWay:
    task: ObjectRef
    name: str
    before: _Key | None
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


def _run(job: Job, kind: Kind, index: int, before: Outcome) -> Outcome:
    """Runs on a worker."""
    if before.failed_step:
        return before
    # Imported here: this is the only place that needs torch.
    from cc_ray import trial
    from cc_ray.tasks import task_from_json

    reporter = _reporter(job, kind, index)
    listening = partial(trial.run_step, listener=reporter.listener if reporter else None)
    run = listening if kind == "step" else trial.run_latency
    _tell_of(job, kind, index)
    start, held, store = time.perf_counter(), job.asked(kind, index), Store.known(job.root)
    try:
        try:
            run(store, task_from_json(dict(job.task)), job.recipe, index, study_id=job.study_id, held=held)
        finally:
            if reporter:
                reporter.publish(store)
    except StoppedEarlyError as error:
        model_id = job.recipe.model_ids(job.task_id)[index]
        return Outcome(step_name(job.recipe), error.reason, time.perf_counter() - start, stopped=model_id)
    except StoreUnavailableError as error:
        return Outcome(step_name(job.recipe.prefix(index)), str(error), time.perf_counter() - start, unavailable=True)
    except TrialFailedError as error:
        return Outcome(error.step, error.cause, time.perf_counter() - start)
    except CcRayError as error:
        return Outcome(step_name(job.recipe.prefix(index)), str(error), time.perf_counter() - start)
    return Outcome(duration_s=time.perf_counter() - start)


def _reporter(job: Job, kind: Kind, index: int) -> Reporter | None:
    """Whom the step tells what its model is worth; None where it is made to the end anyway."""
    if job.contest is None or not job.may_stop(kind, index):
        return None
    return Reporter(
        job.contest,
        model_id=job.recipe.model_ids(job.task_id)[index],
        name=str(job.recipe),
        study_id=job.study_id,
        task_id=job.task_id,
        ask=partial(_ask, job, job.contest),
    )


def _ask(job: Job, contest: Contest, report: Report) -> Decision:
    try:
        actor = ray.get_actor(_actor_name(job.root), _NAMESPACE)
        decision: Decision = ray.get(actor.report.remote(job, contest, report), timeout=_DECISION_S)
    except (RayError, ValueError):  # Lost or being restarted: nothing is ended without a word.
        return Decision()
    return decision


def _tell_of(job: Job, kind: Kind, index: int) -> None:
    """Tell the actor that a worker takes up a piece of work: who hangs or dies cannot see to its end itself."""
    # Whoever started the actor may be gone: then nobody waits for this.
    with suppress(ValueError):
        actor = ray.get_actor(_actor_name(job.root), _NAMESPACE)
        worker = Worker(ray.get_runtime_context().get_node_id(), os.getpid())
        actor.began.remote((kind, job.recipe.model_ids(job.task_id)[index]), worker, job.time_limit_s)


def _import(task: Mapping[str, Any]) -> None:
    """Runs on a worker."""
    from cc_ray import trial  # noqa: F401  all that a step needs
    from cc_ray.tasks import task_from_json

    for base in (made := task_from_json(dict(task))).bases:
        made.build(base)  # Imports the libraries of its models.


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


_is_running = ray.remote(num_cpus=0, max_retries=0)(_exists)
_warm = ray.remote(num_cpus=1, max_retries=0)(_import)
_work = ray.remote(num_cpus=1, max_retries=_RETRIES)(_run)


def _attempt(job: Job, made: dict[tuple[Kind, int], Outcome]) -> Chain:
    """Ask for all work of a trial and wait for it; `made` takes what was done at its request, by kind and place."""
    tickets: list[Ticket] = ray.get(steps_actor(job.root).request.remote(job))
    made |= {(ticket.kind, ticket.index): Outcome() for ticket in tickets if ticket.made}
    outcomes = [_outcome(job, ticket) for ticket in tickets]
    made |= {(ticket.kind, ticket.index): found for ticket, found in zip(tickets, outcomes, strict=True) if ticket.made}
    models = sum(kind == "step" for kind, _ in made)
    spent = [(job.asked(kind, index), outcome.duration_s) for (kind, index), outcome in made.items()]
    return Chain(
        models,
        len(job.recipe.steps) + 1 - models,
        next((outcome for outcome in outcomes if outcome.failed_step), None),
        cpu_s=sum(asked.cpus * duration_s for asked, duration_s in spent),
        gpu_s=sum(asked.gpus * duration_s for asked, duration_s in spent),
    )


def _outcome(job: Job, ticket: Ticket) -> Outcome:
    if isinstance(ticket.work, Outcome):
        return ticket.work
    try:
        outcome: Outcome = ray.get(ticket.work)
    except _LOST:
        raise
    except RayError as error:
        # It was ended after its time, or the worker died at every attempt: most often the machine's memory ran out.
        key = (ticket.kind, job.recipe.model_ids(job.task_id)[ticket.index])
        told: Outcome | None = ray.get(steps_actor(job.root).failure.remote(key, job.session))
        return told or Outcome(step_name(job.recipe.prefix(ticket.index)), _one_line(error))
    return outcome


def _one_line(error: Exception) -> str:
    if isinstance(error, OutOfMemoryError):
        return f"the memory of its machine ran out. {_MEMORY}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
