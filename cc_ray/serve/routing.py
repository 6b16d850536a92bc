"""Brings whatever a browser asks for to the replica that holds its tabs.

A tab lives in one replica. The page that it begins with sets a cookie that names this replica, and Serve's proxy sends
the tab's websocket where the cookie says. Where that replica is gone, all tabs of the browser go to one other.
"""

from __future__ import annotations

import pickle
from typing import Any, Final

from ray import serve
from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cc_ray.serve.login.door import cookies

COOKIE: Final = "cc-ray-replica"
ROUTER: Final = "cc_ray.serve.routing:CookieRouter"


class CookieRouter(ConsistentHashRouter):  # type: ignore[misc]  # ray has no types
    """Chooses the replica that a request's cookie names, else one by the cookie's value, else any."""

    async def choose_replicas(self, candidate_replicas: list[Any], pending_request: Any = None) -> list[list[Any]]:
        """Replicas to ask, in turn."""
        wanted = _cookie(pending_request)
        named = [found for found in candidate_replicas if found.replica_id.unique_id == wanted]
        if named:
            # It alone: no other replica knows the tab. While it is full, its turn comes again after a while.
            pending_request.routing_context.should_backoff = True
            return [named]
        ranked: list[list[Any]] = await super().choose_replicas(candidate_replicas, pending_request)
        return ranked

    def _routing_key(self, pending_request: Any) -> str | None:
        key: str | None = _cookie(pending_request) or super()._routing_key(pending_request)
        return key


def _cookie(pending_request: Any) -> str:
    """The cookie's value, empty if there is none.

    Ray tells a router one header at most, and only where a variable in the environment of each of Serve's proxies names
    it. The request itself is what this process's proxy has just pickled.
    """
    asked = pending_request.args[0] if pending_request is not None and pending_request.args else None
    if not isinstance(asked, bytes):
        return ""
    scope = getattr(pickle.loads(asked), "asgi_scope", None)
    return cookies(scope).get(COOKIE, "")[:64] if scope else ""


def replica() -> str:
    """The name of the replica that this process is; `local` outside Ray Serve."""
    try:
        return str(serve.get_replica_context().replica_id.unique_id)
    except serve.exceptions.RayServeException:
        return "local"


class Bound:
    """Binds a browser to this replica with every page that it gives out.

    Args:
        app: What gives pages out.
        replica: The replica's name.
    """

    def __init__(self, app: ASGIApp, replica: str) -> None:
        self._app = app
        self._replica = replica

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; add the cookie to a page."""
        if scope["type"] != "http" or scope["path"] != "/" or cookies(scope).get(COOKIE) == self._replica:
            await self._app(scope, receive, send)
            return
        secure = "; Secure" if scope["scheme"] == "https" else ""

        async def bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": list(message["headers"])}
                headers = MutableHeaders(raw=message["headers"])
                headers.append("set-cookie", f"{COOKIE}={self._replica}; Path=/; HttpOnly; SameSite=Lax{secure}")
            await send(message)

        await self._app(scope, receive, bound)
