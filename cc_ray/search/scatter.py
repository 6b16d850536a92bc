"""Many small pieces of work as Ray tasks, several to a task, that may be stopped at any moment.

The work publishes what it makes, so nothing is lost with a worker or with this process. A task whose worker dies runs
again; what it had published by then, it finds in the store.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from cc_ray.errors import CcRayError
from cc_ray.resources import Resources
from cc_ray.search.arrival import await_nodes
from cc_ray.search.cluster import cpus
from cc_ray.search.needs import options

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES: Final = 3
"""A task whose worker or node dies is run again so many times."""
_TICK_S: Final = 0.5
"""Time between two reports of progress."""
_PER_CPU: Final = 4
"""Tasks for each CPU, where there is enough to do: the last ones to end then end at about the same time."""
_LARGEST: Final = 16
"""Pieces of work in one task at most: as much is done again where a worker dies."""


@dataclass
class Stop:
    """Whether the user wants an end."""

    reason: str | None = None
    """What stopped the work; None while it may go on."""
    handlers: dict[int, Any] = field(default_factory=dict)
    """What was there for each signal before; none where signals are not listened to."""

    def listen(self) -> None:
        """Note signals; asked again after a connection, which puts a handler of Ray's there."""
        for number in self.handlers if not self.reason else ():
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        self.reason = f"stopped by {signal.Signals(number).name}"
        signal.signal(number, self.handlers[number])


@dataclass(frozen=True)
class Done(Generic[Item, Result]):
    """One task that has ended."""

    items: Sequence[Item]
    """What it was given."""
    results: Sequence[Result]
    """What it returned for each; none where it was lost."""
    lost: str = ""
    """Why the task was lost; empty where it was not."""


@dataclass(frozen=True)
class Pace:
    """How fast work goes."""

    done: int
    """Pieces that are done."""
    total: int
    """All pieces."""
    elapsed_s: float
    """Time since the work began."""
    remaining_s: float | None
    """Estimate of the time left; None while there is nothing to judge it by."""


class Clock:
    """Estimates the time left by the pace since the first piece, which came after a start that does not repeat itself.

    Args:
        total: Number of pieces.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._start = time.monotonic()
        self._first: tuple[float, int] | None = None

    def pace(self, done: int) -> Pace:
        """The figures of this moment, at which so many pieces are done."""
        elapsed_s = time.monotonic() - self._start
        if done and self._first is None:
            self._first = (elapsed_s, done)
        return Pace(done, self._total, elapsed_s, self._remaining_s(done, elapsed_s))

    def _remaining_s(self, done: int, elapsed_s: float) -> float | None:
        if done == self._total:
            return 0.0
        if self._first is None or done <= self._first[1]:
            return None
        first_s, first = self._first
        return (self._total - done) * (elapsed_s - first_s) / (done - first)


def scatter(
    work: Any,
    shared: object,
    items: Sequence[Item],
    *,
    asked: Resources,
    stop: Stop,
    on_tick: Callable[[], None],
) -> Iterator[Done[Item, Any]]:
    """Have all items worked on; gives each task as it ends, in no order.

    Args:
        work: A remote function of `shared` and a list of items; returns a list of results.
        shared: What every task needs to know: plain data.
        items: Pieces of work; neighbours come to one task.
        asked: What a task holds while it runs.
        stop: When it has a reason, tasks under way are cancelled and nothing more is given.
        on_tick: Called about twice a second, from this thread.

    Raises:
        CcRayError: If no node has what a task asks for, and none is coming.
    """
    stop.listen()
    await_nodes({"a measurement": asked}, lambda _: _goes_on(stop, on_tick))
    send = work.options(**options(asked)).remote
    running = {send(shared, chunk): chunk for chunk in chunks(items, cpus())}
    try:
        while running and not stop.reason:
            ended, _ = ray.wait(list(running), timeout=_TICK_S)
            for task in ended:
                yield _done(task, running.pop(task))
            on_tick()
    finally:
        for task in running:
            ray.cancel(task, force=True)


def chunks(items: Sequence[Item], cpus: int) -> list[Sequence[Item]]:
    """Cut a list into parts for tasks: enough parts that all CPUs are busy to the end, and none too long."""
    length = max(1, min(_LARGEST, len(items) // (_PER_CPU * max(1, cpus))))
    return [items[start : start + length] for start in range(0, len(items), length)]


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Note Ctrl-C and SIGTERM instead of ending at once; a second one ends at once."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    stop.handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stop.listen()
    try:
        yield stop
    finally:
        for number, handler in stop.handlers.items():
            signal.signal(number, handler)


def one_line(error: BaseException) -> str:
    """What went wrong, for people."""
    said = " ".join(str(error).split())
    return said if isinstance(error, CcRayError) else f"{type(error).__name__}: {said}"


def _goes_on(stop: Stop, on_tick: Callable[[], None]) -> bool:
    on_tick()
    return not stop.reason


def _done(task: ray.ObjectRef, chunk: Sequence[Item]) -> Done[Item, Any]:
    try:
        return Done(chunk, ray.get(task))
    except RayError as error:
        # The work raised, or its worker died at every attempt, most often because the machine's memory ran out.
        return Done(chunk, [], one_line(error.cause if isinstance(error, RayTaskError) else error))
