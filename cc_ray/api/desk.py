"""What the handlers of one store share: its views as they are now, threads for questions, workers for SQL."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

import anyio
from anyio import to_thread
from starlette.requests import HTTPConnection

from cc_ray.errors import BusyError
from cc_ray.store import Store
from cc_ray.views import Views, open_views
from cc_ray.views.isolated import Workers

AT_ONCE: Final = 4
"""Questions that are worked on at the same time."""
AT_ONCE_PER_USER: Final = 2
"""Of those, questions of one user: others need not wait for them."""
MOST: Final = 36
"""Questions at work and waiting; more are refused."""
MOST_PER_USER: Final = 18
"""Of those, questions of one user."""
QUICK: Final = 4
"""Quick things at the same time, which no question holds up."""

T = TypeVar("T")


class Desk:
    """One store, open for many.

    Args:
        root: The store's folder or URL.
    """

    def __init__(self, root: Path | str) -> None:
        self.store = Store(root)
        self._views: Views | None = None
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._of_user: dict[str, anyio.CapacityLimiter] = {}

    @cached_property
    def workers(self) -> Workers:
        """The workers for SQL; none runs before the first query."""
        return Workers(self.store.root)

    @cached_property
    def _threads(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(AT_ONCE)

    @cached_property
    def _quick(self) -> anyio.CapacityLimiter:
        return anyio.CapacityLimiter(QUICK)

    @cached_property
    def _waiters(self) -> anyio.CapacityLimiter:
        # The workers count for themselves; a thread only waits for one.
        return anyio.CapacityLimiter(self.workers.most + AT_ONCE)

    def views(self) -> Views:
        """The store as it is now."""
        with self._lock:
            self._views = self._views.refreshed() if self._views else open_views(self.store.root)
            return self._views

    async def question(self, work: Callable[[], T], user: str) -> T:
        """Ask a question off the event loop.

        Args:
            work: What is asked.
            user: Who asks.

        Raises:
            BusyError: If too much waits already.
        """
        self._admit(user)
        self._asked[user] += 1
        own = self._of_user.setdefault(user, anyio.CapacityLimiter(AT_ONCE_PER_USER))
        try:
            async with own:
                return await to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._asked[user] -= 1
            if not self._asked[user]:
                del self._asked[user], self._of_user[user]

    def _admit(self, user: str) -> None:
        if self._asked.total() >= MOST:
            raise BusyError(f"{self._asked.total()} questions are at work or wait; no more can. Try again soon.", 1)
        if self._asked[user] >= MOST_PER_USER:
            raise BusyError(f"{self._asked[user]} questions of yours are at work or wait; wait for one of them.", 1)

    async def quick(self, work: Callable[[], T]) -> T:
        """Do what is quick off the event loop, beside all questions."""
        return await to_thread.run_sync(work, limiter=self._quick)

    async def query(self, work: Callable[[], T]) -> T:
        """Wait for a worker off the event loop; the caller cancels the query if it is cancelled itself."""
        return await to_thread.run_sync(work, limiter=self._waiters, abandon_on_cancel=True)


def user_of(request: HTTPConnection) -> str:
    """Who asks: the address that a request comes from. There is no login; it is what limits are counted by."""
    return request.client.host if request.client else ""
