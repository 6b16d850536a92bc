"""What a worker gives up before it sees a query: nothing of this comes back while it lives."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

OPEN_FILES: Final = 256
NICENESS: Final = 10
"""How far a query stands back behind the dashboard where both want the processor."""
MOST_CORES: Final = 4
"""Processors that one query works with at most."""
GRACE_S: Final = 1.0
"""How much longer than its supervisor a worker waits before it ends itself, in seconds."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_NO_NEW_PRIVILEGES: Final = 38
_READ_FILE, _READ_FOLDER, _EXECUTE = 1 << 2, 1 << 3, 1 << 0
_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many kinds of file access a version of Landlock knows, by version; later ones know as many as the fifth."""


def expose() -> None:
    """Be the first to go when the machine runs out of memory, and leave half of the processors to others."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with suppress(AttributeError, OSError):
        seen = sorted(os.sched_getaffinity(0))
        # DuckDB takes a thread per core that it sees.
        os.sched_setaffinity(0, seen[-max(1, len(seen) // 2) :][:MOST_CORES])


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stand_back() -> None:
    """Let others go first, for the processor; later than `expose`, so that a start is quick."""
    for thread in os.listdir("/proc/self/task") if sys.platform == "linux" else ["0"]:
        # Linux keeps it for each thread, and DuckDB's are there already.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, int(thread), NICENESS)


def allow_reading(folders: Iterable[Path | str]) -> bool:
    """Let the kernel (Landlock) refuse every file but those below these folders, every write and every connection.

    It holds for threads that start later, so it comes before there are any.

    Returns:
        Whether the kernel can do so; without, DuckDB's own locks and the limits below stand alone.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    access = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    rules = (ctypes.c_uint64 * 2)(access, 3)
    handle = libc.syscall(_CREATE_RULESET, rules, 16 if version >= 4 else 8, 0)
    if handle < 0:
        return False
    try:
        for folder in folders:
            _allow(libc, handle, folder)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, handle, 0) == 0)
    finally:
        os.close(handle)


def limit(seconds: float, memory_bytes: int) -> None:
    """Bound this process from now on.

    Args:
        seconds: Wall time; processor time is bounded to as much on every core that it may use.
        memory_bytes: Address space beyond what is taken already.
    """
    _set(resource.RLIMIT_CPU, int(seconds * cores() + GRACE_S) + 1)
    _set(resource.RLIMIT_AS, _address_space() + memory_bytes)
    _set(resource.RLIMIT_FSIZE, 0)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_NOFILE, OPEN_FILES)
    # The supervisor kills at the limit; this is for when there is none any more.
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_S)


def _set(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


def _address_space() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 2 * 2**30


def _allow(libc: ctypes.CDLL, ruleset: int, folder: Path | str) -> None:
    try:
        handle = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return

    class Rule(ctypes.Structure):
        _pack_ = 1
        _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))

    try:
        rule = Rule(_READ_FILE | _READ_FOLDER | _EXECUTE, handle)
        libc.syscall(_ADD_RULE, ruleset, 1, ctypes.byref(rule), 0)
    finally:
        os.close(handle)
