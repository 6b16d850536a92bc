"""Whose turn it is on this machine: timing must not be disturbed.

Two lock files per machine see to it. Whoever makes models holds `work` together with others; whoever times one holds it
alone, if only for the passes. All who time hold `gate` together, from before they wait until they are done, and nobody
begins to make a model meanwhile: a stream of steps cannot keep timing out, and timings that wait together follow each
other while the machine is quiet. The kernel frees the locks of a process that dies.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

Turn = Callable[[bool], None]
"""Told False where somebody begins to wait for a turn, True once it has come; neither where nobody has to wait."""


def no_word(came: bool) -> None:
    """A `Turn` that tells nobody."""


@contextmanager
def beside_others(turn: Turn = no_word) -> Iterator[None]:
    """A turn in which models are made, by any number of processes."""
    with _held("gate", fcntl.LOCK_EX, turn):
        work = _lock("work", fcntl.LOCK_SH, turn)
    try:
        yield
    finally:
        os.close(work)


def no_new_steps(turn: Turn = no_word) -> AbstractContextManager[None]:
    """Keep others from beginning to make models."""
    return _held("gate", fcntl.LOCK_SH, turn)


def at_work(turn: Turn = no_word, *, alone: bool) -> AbstractContextManager[None]:
    """A turn of one who keeps new steps away: alone, or beside what still runs."""
    return _held("work", fcntl.LOCK_EX if alone else fcntl.LOCK_SH, turn)


@contextmanager
def _held(name: str, how: int, turn: Turn) -> Iterator[None]:
    handle = _lock(name, how, turn)
    try:
        yield
    finally:
        os.close(handle)


def _lock(name: str, how: int, turn: Turn) -> int:
    folder = Path(tempfile.gettempdir()) / f"cc-ray-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        turn(False)
        fcntl.flock(handle, how)
        turn(True)
    return handle
