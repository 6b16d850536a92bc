"""Gives the memory of closed tabs back to the system, which glibc otherwise keeps for the next ones."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from typing import Final

import pyarrow as pa

AFTER_S: Final = 8.0
"""How long no tab has ended before memory is given back: tabs often end together, and collecting takes its time."""


def settle() -> None:
    """Have no collection look at what is there now: modules and the rows of a store stay, and are most of all objects.

    To be called before anyone is served: what is in circles among these objects is never collected.
    """
    gc.collect()
    gc.freeze()


class Memory:
    """What this process holds without need.

    Args:
        after_s: How long to wait after the last tab that ended.
    """

    def __init__(self, after_s: float = AFTER_S) -> None:
        self._after_s = after_s
        self._waiting: asyncio.TimerHandle | None = None

    def tab_ended(self, context: object) -> None:
        """Give memory back, once no other tab ends for a while; on the event loop."""
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = asyncio.get_running_loop().call_later(self._after_s, self._give_back)

    def _give_back(self) -> None:
        self._waiting = None
        # What tabs hold refers to itself in circles.
        gc.collect()
        asyncio.get_running_loop().run_in_executor(None, give_back)


def give_back() -> None:
    """Give back what is freed: of Arrow, and where the C library can, of everything else."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
