"""Work that somebody may stop while it is done: it looks now and then whether it is to go on.

Threads cannot be ended from outside. So whoever asks gives a `Stop` along (`Stop.run`), and what works through much
calls `go_on` between its pieces. What waits for another program, such as a database, says how that is interrupted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, ParamSpec, TypeVar

from cc_ray.errors import StoppedError

P = ParamSpec("P")
T = TypeVar("T")


class Stop:
    """Asks the work that it was given to, in whichever threads, to end; for good."""

    def __init__(self) -> None:
        self._asked = False
        self._lock = threading.Lock()
        self._interrupts: list[Callable[[], object]] = []

    @property
    def asked(self) -> bool:
        """Whether the work is to end."""
        return self._asked

    def ask(self) -> None:
        """Ask for the end; returns at once."""
        with self._lock:
            self._asked = True
            for interrupt in self._interrupts:
                interrupt()

    def run(self, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Do work that this may stop.

        Raises:
            StoppedError: If it did.
        """
        before = _current.set(self)
        try:
            go_on()
            return work(*args, **named)
        finally:
            _current.reset(before)

    @contextmanager
    def interrupting(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Within the block, `ask` interrupts what it waits for, and does so no more once the block is left."""
        with self._lock:
            if not self._asked:
                self._interrupts.append(interrupt)
        try:
            go_on()
            yield
        finally:
            with self._lock:
                if interrupt in self._interrupts:
                    self._interrupts.remove(interrupt)


_current: Final[ContextVar[Stop | None]] = ContextVar("stop", default=None)


def go_on() -> None:
    """Go on with work, unless somebody stopped it.

    Raises:
        StoppedError: If somebody did.
    """
    stop = _current.get()
    if stop is not None and stop.asked:
        raise StoppedError("this was cancelled.")


@contextmanager
def interruptible(interrupt: Callable[[], object]) -> Iterator[None]:
    """A block that waits for what `interrupt` ends, from any thread; without a `Stop` a plain block."""
    stop = _current.get()
    if stop is None:
        yield
        return
    with stop.interrupting(interrupt):
        yield


def carried(work: Callable[P, T]) -> Callable[P, T]:
    """Work for other threads, which is stopped together with that of the present one."""
    stop = _current.get()
    if stop is None:
        return work

    def run(*args: P.args, **named: P.kwargs) -> T:
        return stop.run(work, *args, **named)

    return run
