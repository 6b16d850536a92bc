"""Stands before everything that is served: who asks is known, or asked to log in."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

import anyio
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cc_ray.api.problems import problem
from cc_ray.serve.login.door import Door, TooManyTries, cookie_name, cookies
from cc_ray.serve.login.identity import Identity
from cc_ray.serve.proxies import is_near
from dashboards.user import NAME_HEADER, OPERATOR, READER, ROLE_HEADER

LOCAL_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
_OPEN: Final = ("/healthz", "/login", "/logout")
_OPEN_BELOW: Final = ("/static/", "/login/")
"""What anybody may ask for: no word of the store is in it."""
_OURS: Final = (NAME_HEADER.encode(), ROLE_HEADER.encode())
_SESSION: Final = ("bokeh_session_id", "bokeh-session-id")
"""Parameters with which somebody could make another person's tab one that they know, and look through their eyes."""
_LOOK_S: Final = 10.0
"""How often it is seen to that whoever holds a websocket may still."""


class Gate:
    """Lets in whom it knows, and tells the application who it is.

    Args:
        app: What is asked. It finds an `Identity` in the scope, as `identity`, and in headers that no client can send.
        door: Knows people; None where there is no login: then who asks from this machine is an operator, others read.
    """

    def __init__(self, app: ASGIApp, door: Door | None) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            identity = await self._identity(scope)
        except TooManyTries as error:
            await _refuse(problem(429, str(error), {"Retry-After": str(error.wait_s)}), scope, receive, send)
            return
        scope = _told(scope, identity)
        if identity is None and not is_open(scope["path"]):
            await _refuse(_unknown(scope), scope, receive, send)
        elif scope["type"] == "websocket" and identity and identity.until:
            await self._watched(scope, receive, send, identity)
        else:
            await self._app(scope, receive, send)

    async def _identity(self, scope: Scope) -> Identity | None:
        if self._door is None:
            return Identity("", OPERATOR if _is_local(scope) else READER)
        known = self._by_cookie(scope)
        authorization = Headers(scope=scope).get("authorization")
        if known or authorization is None:
            return known
        return await self._door.program(authorization, scope["client"][0])

    def _by_cookie(self, scope: Scope) -> Identity | None:
        return self._door.known_by(cookies(scope).get(cookie_name(scope), "")) if self._door else None

    async def _watched(self, scope: Scope, receive: Receive, send: Send, identity: Identity) -> None:
        """Serve a websocket for as long as its login lasts."""

        async def watch(held: anyio.CancelScope) -> None:
            while self._by_cookie(scope) == identity:
                await anyio.sleep(_LOOK_S)
            held.cancel()

        with anyio.CancelScope() as held:
            watching = asyncio.create_task(watch(held))
            try:
                await self._app(scope, receive, send)
            finally:
                watching.cancel()
        if held.cancelled_caught:
            await send({"type": "websocket.close", "code": 1008, "reason": "the login is over"})


def is_open(path: str) -> bool:
    """Whether anybody may ask for a path."""
    return path in _OPEN or path.startswith(_OPEN_BELOW)


def _told(scope: Scope, identity: Identity | None) -> Scope:
    """The request with who asks, and without what would be taken for it."""
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _OURS]
    if identity:
        headers += zip(_OURS, (identity.name.encode("latin-1"), identity.role.encode()), strict=True)
    return {
        **scope,
        "headers": headers,
        "query_string": _without_session(scope.get("query_string", b"")),
        "identity": identity,
    }


def _without_session(query: bytes) -> bytes:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if name.lower() not in _SESSION]
    return urlencode(kept).encode() if len(kept) < len(pairs) else query


def _is_local(scope: Scope) -> bool:
    """Whether somebody at this machine asks, by one of its own names and through no proxy."""
    host = Headers(scope=scope).get("host", "")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return is_near(scope) and name.lower() in LOCAL_NAMES


def _unknown(scope: Scope) -> Response:
    """The answer to somebody who is not known."""
    headers = Headers(scope=scope)
    path: str = scope["path"]
    if path == "/api" or path.startswith("/api/"):
        detail = "nobody is logged in: log in, or send a token of the login file as 'Authorization: Bearer TOKEN'."
        return problem(401, detail, {"WWW-Authenticate": "Bearer"})
    if scope.get("method") == "GET" and "text/html" in headers.get("accept", ""):
        query = scope["query_string"].decode("latin-1")
        wanted = quote(path + (f"?{query}" if query else ""), safe="")
        return RedirectResponse(f"/login?next={wanted}", 303, {"Cache-Control": "no-store"})
    return PlainTextResponse("Log in first.\n", 401, {"WWW-Authenticate": "Bearer"})


async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": "nobody is logged in"})
    else:
        await response(scope, receive, send)
