"""When models are timed: several in a row, because a machine falls silent for each timing and is slow to do so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

TOGETHER: Final = 8
"""Trials whose models are timed in a row where there are as many."""
PATIENCE_S: Final = 5.0
"""A trial waits no longer for others."""


class Turns:
    """Lets trials wait for each other before their models are timed.

    Args:
        steps: How many steps run or could run: where few do, few trials will come to wait.
    """

    def __init__(self, steps: Callable[[], int]) -> None:
        self._steps = steps
        self._waiting: dict[asyncio.Future[bool], str] = {}
        """With the session of each."""

    async def wait(self, session: str) -> bool:
        """Wait for one's turn; False where the session was cancelled meanwhile."""
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[bool] = loop.create_future()
        self._waiting[mine] = session
        late = loop.call_later(PATIENCE_S, self._begin)
        self.look()
        try:
            return await mine
        finally:
            late.cancel()

    def look(self) -> None:
        """Let all who wait begin if there are enough of them; to be called whenever there are fewer steps."""
        if len(self._waiting) >= min(TOGETHER, self._steps()):
            self._begin()

    def cancel(self, session: str) -> None:
        """Send those of a session away."""
        for future in [future for future, of in self._waiting.items() if of == session]:
            del self._waiting[future]
            future.set_result(False)

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            if not future.done():
                future.set_result(True)
