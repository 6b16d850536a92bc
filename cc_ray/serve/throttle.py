"""Refuses addresses that ask for more than anybody needs; not this machine itself, where programs may be in a hurry."""

from __future__ import annotations

from math import ceil
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cc_ray.api.problems import problem
from cc_ray.serve.limits import AtOnce, Rate, network
from cc_ray.serve.metrics import Metrics
from cc_ray.serve.proxies import is_near

REQUESTS: Final = (50.0, 500)
"""A second in the long run, and at once, of an address: a page takes a dozen."""
PAGES: Final = (2.0, 120)
"""Of these, pages: each is a session of 4 MB."""
SOCKETS: Final = 200
"""Tabs that an address has open."""


class Throttle:
    """Refuses what is too much, before anything is done for it.

    Args:
        app: What is asked.
        metrics: Counts what is refused.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._requests = Rate(*REQUESTS)
        self._pages = Rate(*PAGES)
        self._sockets = AtOnce(SOCKETS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket") or is_near(scope):
            await self._app(scope, receive, send)
            return
        address = network(scope["client"][0])
        wait = self._requests.take(address)
        if scope["type"] == "websocket":
            await self._connect(address, bool(wait), scope, receive, send)
            return
        wait = wait or (self._pages.take(address) if scope["path"] == "/" else 0.0)
        if wait:
            self._metrics.limited.labels("request").inc()
            await _refusal(ceil(wait))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _connect(self, address: str, refused: bool, scope: Scope, receive: Receive, send: Send) -> None:
        if refused or not self._sockets.enter(address):
            self._metrics.limited.labels("websocket").inc()
            await send({"type": "websocket.close", "code": 1013, "reason": "too many open tabs or requests"})
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._sockets.leave(address)


def _refusal(wait_s: int) -> Response:
    return problem(429, f"too many requests from this address: wait {wait_s} s.", {"Retry-After": str(wait_s)})
