"""Websockets of the dashboard's tabs: what bokeh_fastapi, which carries them, does not see to itself.

It neither compares a websocket's origin with the host it was asked for, nor lets go of closed sessions, nor looks at
who connects: a tab belongs to whom its page was made for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final
from urllib.parse import urlsplit

from bokeh.protocol.exceptions import ProtocolError
from bokeh.util.token import check_token_signature, get_session_id, get_token_payload

from dashboards.user import User

Connect = Callable[[Any, Any], Awaitable[None]]

HEADERS: Final = ("X-Cc-Ray-User", "X-Cc-Ray-Role")
"""Of a page's request, what its tab is told, as Tornado spells it. It travels through the page, which scripts can read:
never cookies."""


def guard() -> None:
    """Guard all websockets of this process."""
    from bokeh_fastapi.handler import WSHandler

    if not hasattr(WSHandler.ws_connect, "__wrapped__"):
        WSHandler.ws_connect = guarded(WSHandler.ws_connect)


def guarded(connect: Connect) -> Connect:
    """Give bokeh_fastapi's way of serving a websocket what it lacks.

    Args:
        connect: `WSHandler.ws_connect`: serves a websocket until it closes.

    Returns:
        The same, which closes unaccepted, with code 1008, a websocket whose origin is not the host it was asked for,
        whose tab this process does not have, or whose tab is somebody else's; and tells the application of every lost
        connection.
    """

    @wraps(connect)
    async def ws_connect(self: Any, websocket: Any) -> None:
        reason = is_foreign(websocket.headers) or is_lost(self, websocket)
        if reason:
            await websocket.close(code=1008, reason=reason)
            return
        metrics = websocket.app.state.metrics
        metrics.sessions.inc()
        try:
            await connect(self, websocket)
        finally:
            metrics.sessions.dec()
            if self.connection is not None:
                self.application.client_lost(self.connection)

    return ws_connect


def is_foreign(headers: Any) -> str:
    """Why a page of another origin may not connect; empty for one of ours, and for programs."""
    origin = headers.get("origin")
    ours = origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    return "" if ours else "foreign origin"


def is_lost(handler: Any, websocket: Any) -> str:
    """Why there is no tab here for a websocket; empty if there is one."""
    protocols = websocket.scope.get("subprotocols", [])
    token = protocols[1] if len(protocols) == 2 and protocols[0] == "bokeh" else ""
    try:
        # The signature first: what is not signed is not unpacked.
        if not check_token_signature(token, handler.application.secret_key, signed=True):
            return "not a token of this dashboard"
        made_for = get_token_payload(token)["headers"]
        handler.application_context.get_session(get_session_id(token))
    except (ValueError, KeyError):
        return "not a token of this dashboard"
    except ProtocolError:
        return "this tab is over: load the page again"
    return "" if User.of(made_for) == User.of(websocket.headers) else "somebody else's tab"
