"""Whether a replica can do its work: its event loop answers, and the store can be read."""

from __future__ import annotations

import logging
import math
import time
from typing import Final

import anyio
from anyio import CapacityLimiter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cc_ray.errors import StoreError
from cc_ray.store import Store

PATIENCE_S: Final = 5.0
"""How long the store may take to answer."""
_log: Final = logging.getLogger(__name__)


class Health:
    """Answers `/healthz`: 200 while the store can be read, 503 with the reason while it cannot.

    Serve does not end a replica because of it: another one would not find the store, either, and tabs would lose what
    they show. It ends one whose event loop does not answer (`check_health` of the deployment).

    Args:
        root: The store's folder or URL.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        # One thread: a store that hangs must not take all of them.
        self._looking: CapacityLimiter | None = None
        self._seen = ""
        self._seen_at = -math.inf

    async def __call__(self, request: Request) -> Response:
        """The answer: what is true now, or was a second ago; all tabs that lost their connection ask at once."""
        if time.monotonic() - self._seen_at > 1:
            self._seen = await self.trouble()
            self._seen_at = time.monotonic()
        trouble = self._seen
        return JSONResponse({"status": trouble or "ok"}, 503 if trouble else 200, {"Cache-Control": "no-store"})

    async def trouble(self) -> str:
        """What is wrong with the store, if anything; no word of where it lies."""
        self._looking = self._looking or CapacityLimiter(1)
        try:
            with anyio.fail_after(PATIENCE_S):
                await anyio.to_thread.run_sync(Store, self._root, limiter=self._looking, abandon_on_cancel=True)
        except TimeoutError:
            return f"the store has not answered for {PATIENCE_S:g} s"
        except (StoreError, OSError) as error:
            _log.error("the store cannot be read: %s", error)
            return "the store cannot be read"
        return ""
