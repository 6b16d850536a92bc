"""What browsers may do with what is served: nothing that the dashboard does not need."""

from __future__ import annotations

import re
import secrets
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: browsers would then hide the origin of our own forms, by which they are told from foreign ones.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_HSTS: Final = "max-age=31536000"
_INLINE: Final = re.compile(rb"<script(?![^>]*\ssrc=)([^>]*>.*?</script>)", re.DOTALL | re.IGNORECASE)


class SecurityHeaders:
    """Adds headers to every answer that does not have them yet, and to pages a policy of what they may load and run.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; add to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Answer(send, secure=scope["scheme"] == "https").send)


class _Answer:
    """One answer: its start waits for the page, whose scripts get the nonce that the policy names."""

    def __init__(self, send: Send, *, secure: bool) -> None:
        self._send, self._secure = send, secure
        self._start: Message = {}
        self._page: list[bytes] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = self._protected(message)
            if "content-security-policy" in headers:
                await self._send(message)
            elif headers.get("content-type", "").startswith("text/html"):
                # A page has the token of its tab in it.
                headers.setdefault("cache-control", "no-store")
                self._start = message
            else:
                headers["content-security-policy"] = "default-src 'none'; frame-ancestors 'none'"
                await self._send(message)
            return
        if not self._start:
            await self._send(message)
            return
        self._page.append(message.get("body", b""))
        if not message.get("more_body", False):
            await self._finish()

    async def _finish(self) -> None:
        nonce = secrets.token_urlsafe(18)
        page = marked(b"".join(self._page), nonce)
        headers = MutableHeaders(raw=self._start["headers"])
        headers["content-security-policy"] = policy(nonce)
        headers["content-length"] = str(len(page))
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": page})

    def _protected(self, message: Message) -> MutableHeaders:
        message["headers"] = list(message.get("headers", []))
        headers = MutableHeaders(raw=message["headers"])
        for name, value in _ALWAYS.items():
            headers.setdefault(name, value)
        if self._secure:
            headers.setdefault("strict-transport-security", _HSTS)
        return headers


def policy(nonce: str) -> str:
    """The content security policy of a page whose own scripts carry a nonce.

    Scripts are those of this server and those with the nonce; `onclick` and the like never run, whatever markup a store
    holds. Bokeh makes functions of its callbacks' text, and Panel modules of its components' text, which is why `eval`
    and `blob:` are allowed; both put their styles into the page.
    """
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' blob: 'unsafe-eval' 'nonce-{nonce}'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self' blob:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def marked(page: bytes, nonce: str) -> bytes:
    """A page whose inline scripts carry a nonce. What they hold is left alone, also where it looks like a script."""
    return _INLINE.sub(lambda found: b'<script nonce="' + nonce.encode() + b'"' + found[1], page)
