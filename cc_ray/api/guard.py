"""What is refused before anything is read: foreign pages and bodies that are too long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cc_ray.api.problems import problem

LONGEST_BODY: Final = 2**20
"""Bytes of a request's body at most."""
SLOWEST_BODY_S: Final = 30.0
"""How long a request's body may take to arrive, in seconds."""
LONGEST_QUERY: Final = 32 * 2**10
"""Bytes of a URL's query at most."""
HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "private, no-cache",
}
"""Of every answer: no page of another origin shows, runs or keeps it."""


class Guard:
    """Refuses requests that a page of another origin makes a browser send, and long ones.

    A browser says where a request comes from in `Origin` and `Sec-Fetch-Site`; programs send neither. Answers carry no
    CORS headers, so that no page reads them, either.

    Args:
        app: What is guarded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = refused(headers, scope["method"]) or too_long(headers, scope.get("query_string", b""))
        if refusal:
            await problem(*refusal)(scope, receive, _protected(send))
            return
        try:
            with anyio.fail_after(SLOWEST_BODY_S):
                body = await _body(receive)
        except TimeoutError:
            await problem(408, _SLOW)(scope, receive, _protected(send))
            return
        if body is None:
            await problem(413, _LONG)(scope, receive, _protected(send))
            return
        await self._app(scope, _replayed(body, receive), _protected(send))


async def _body(receive: Receive) -> list[Message] | None:
    """All messages of a request's body; None if it is too long."""
    messages: list[Message] = []
    length = 0
    while not messages or messages[-1].get("more_body", False):
        messages.append(await receive())
        length += len(messages[-1].get("body", b""))
        if length > LONGEST_BODY:
            return None
    return messages


def _replayed(messages: list[Message], receive: Receive) -> Receive:
    left = iter(messages)

    async def replayed() -> Message:
        message = next(left, None)
        return message if message is not None else await receive()

    return replayed


def refused(headers: Mapping[str, str], method: str) -> tuple[int, str] | None:
    """Status and reason, if a page of another origin sends this."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        return 403, "pages of another origin are not answered: ask from the dashboard's own address or from a program."
    # A link that somebody follows; not a frame or a window that a page opens by itself, because questions cost time.
    navigated = method == "GET" and headers.get("sec-fetch-mode") == "navigate" and "sec-fetch-user" in headers
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not navigated:
        return 403, "pages of another site are not answered: ask from the dashboard's own address or from a program."
    if method == "POST" and not headers.get("content-type", "").lower().startswith("application/json"):
        # Forms, which any page may send, are of other types.
        return 415, "the body is JSON: send it with Content-Type: application/json."
    return None


def too_long(headers: Mapping[str, str], query: bytes) -> tuple[int, str] | None:
    """Status and reason, if a request says itself that it is too long."""
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or len(length) > 18 or int(length) > LONGEST_BODY:
        return 413, _LONG
    if len(query) > LONGEST_QUERY:
        return 413, f"the URL's query is longer than {LONGEST_QUERY} bytes: name fewer models."
    return None


_LONG: Final = f"the body is longer than {LONGEST_BODY} bytes: shorten the query, or pass values as parameters."

_SLOW: Final = f"the body has not arrived within {SLOWEST_BODY_S:g} s: send it at once."


def _protected(send: Send) -> Send:
    async def protected(message: Message) -> None:
        if message["type"] == "http.response.start":
            found = {name for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in found]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return protected
