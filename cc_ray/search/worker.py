"""What runs on the workers: a step, with a word to the actor of who took it up and of what its model is worth."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cc_ray.errors import CcRayError, StoppedEarlyError, StoreUnavailableError, TrialFailedError
from cc_ray.recipe import step_name
from cc_ray.reports import Report
from cc_ray.search.early_stopping import Contest, Decision
from cc_ray.search.reporting import Reporter
from cc_ray.search.work import NAMESPACE, Job, Key, Kind, Outcome, actor_name
from cc_ray.store import Store

RETRIES: Final = 3
"""A task whose worker or node dies is run again so many times."""
_ANSWER_S: Final = 60.0
"""How long a node may take to say whether a process of it lives."""
_DECISION_S: Final = 30.0
"""A step that has no answer to its report after this time goes on."""


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


def warm_up(task: Mapping[str, Any], workers: int) -> None:
    """Let workers import what the steps of a task need while its trials are still being set up."""
    for _ in range(workers):
        _warm.remote(task)


def _run(job: Job, kind: Kind, index: int, before: Outcome) -> Outcome:
    """Runs on a worker."""
    if before.failed_step:
        return before
    # Imported here: this is the only place that needs torch.
    from cc_ray import trial
    from cc_ray.tasks import task_from_json

    reporter = _reporter(job, kind, index)
    listening = partial(trial.run_step, listener=reporter.listener if reporter else None)
    run = partial(listening if kind == "step" else trial.run_latency, turn=partial(_tell_of_turn, job, kind, index))
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
        actor = ray.get_actor(actor_name(job.root), NAMESPACE)
        decision: Decision = ray.get(actor.report.remote(job, contest, report), timeout=_DECISION_S)
    except (RayError, ValueError):  # Lost or being restarted: nothing is ended without a word.
        return Decision()
    return decision


def _tell_of(job: Job, kind: Kind, index: int) -> None:
    """Tell the actor that a worker takes up a piece of work: who hangs or dies cannot see to its end itself."""
    # Whoever started the actor may be gone: then nobody waits for this.
    with suppress(ValueError):
        actor = ray.get_actor(actor_name(job.root), NAMESPACE)
        actor.began.remote(_key(job, kind, index), _worker(), job.time_limit_s)


def _tell_of_turn(job: Job, kind: Kind, index: int, came: bool) -> None:
    """Tell the actor of waiting for a turn on this machine: no time of the limit passes meanwhile."""
    if job.time_limit_s is not None:
        with suppress(ValueError):
            actor = ray.get_actor(actor_name(job.root), NAMESPACE)
            actor.waited.remote(_key(job, kind, index), _worker(), job.time_limit_s if came else None)


def _key(job: Job, kind: Kind, index: int) -> Key:
    return kind, job.recipe.model_ids(job.task_id)[index]


def _worker() -> Worker:
    return Worker(ray.get_runtime_context().get_node_id(), os.getpid())


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
execute = ray.remote(num_cpus=1, max_retries=RETRIES)(_run)
"""A piece of work as a Ray task."""
execute_on_gpu = ray.remote(num_gpus=1, max_calls=1, max_retries=RETRIES)(_run)
"""The same in a process of its own: once a process has used a GPU it cannot see another one, which Ray may give it."""
