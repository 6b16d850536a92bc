"""Whoever waits for steps: a trial that needs a chain of models, and the display that shows how things stand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import ray
from ray import ObjectRef
from ray.exceptions import ActorDiedError, ObjectLostError, OutOfMemoryError, RayActorError, RayError, RayTaskError

from cc_ray.errors import CcRayError, StoreUnavailableError
from cc_ray.recipe import step_name
from cc_ray.search.steps import release_actor, steps_actor
from cc_ray.search.work import Beat, Chain, Job, Kind, Outcome, Ticket, one_line

_PATIENCE: Final = 10
"""An actor that is lost is asked again so many times."""
_LOST: Final = (ObjectLostError, RayActorError)
"""What is raised when the actor is gone, and with it the tasks that it owned.

Where it is gone because memory ran out, calls of it raise the same as a task that is tried no more.
"""


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
            lost = one_line(error)
            if isinstance(error, ActorDiedError):
                release_actor(job.root)
        except RayTaskError as error:
            if isinstance(error.cause, StoreUnavailableError):
                raise error.cause from None
            raise
        time.sleep(min(5.0, 0.2 * 2**attempt))
    raise CcRayError(f"the cluster lost the steps of '{job.recipe}' {_PATIENCE} times: {lost}")


class Pulse:
    """Asks the actor how a session's work stands and never waits for the answer: a figure on the screen can be late.

    Args:
        root: Folder or URL of the store.
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


def _attempt(job: Job, made: dict[tuple[Kind, int], Outcome]) -> Chain:
    """Ask for all work of a trial and wait for it; `made` takes what was done at its request, by kind and place."""
    actor = steps_actor(job.root)
    steps = _outcomes(job, ray.get(actor.request.remote(job)), made)
    there = next((index for index, outcome in enumerate(steps) if outcome.failed_step), len(steps))
    timings = _outcomes(job, ray.get(actor.time.remote(job, there)), made)
    models = sum(kind == "step" for kind, _ in made)
    spent = [(job.asked(kind, index), outcome.duration_s) for (kind, index), outcome in made.items()]
    return Chain(
        models,
        len(job.recipe.steps) + 1 - models,
        next((outcome for outcome in (*steps, *timings) if outcome.failed_step), None),
        cpu_s=sum(asked.cpus * duration_s for asked, duration_s in spent),
        gpu_s=sum(asked.gpus * duration_s for asked, duration_s in spent),
    )


def _outcomes(job: Job, tickets: Sequence[Ticket], made: dict[tuple[Kind, int], Outcome]) -> list[Outcome]:
    """Wait for the work of tickets."""
    made |= {(ticket.kind, ticket.index): Outcome() for ticket in tickets if ticket.made}
    outcomes = [_outcome(job, ticket) for ticket in tickets]
    made |= {(ticket.kind, ticket.index): found for ticket, found in zip(tickets, outcomes, strict=True) if ticket.made}
    return outcomes


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
        return told or Outcome(step_name(job.recipe.prefix(ticket.index)), one_line(error))
    return outcome
