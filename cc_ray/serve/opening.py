"""Opens the store that a page is asked for, before the page is made: that takes a while, and others are not to wait."""

from __future__ import annotations

import logging
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import parse_qsl, quote

import anyio
from anyio import CapacityLimiter
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from cc_ray.errors import CcRayError
from dashboards.stores import Stores, UnknownStoreError

AT_ONCE: Final = 2
"""Stores that are opened at the same time."""
_log: Final = logging.getLogger(__name__)


class Opening:
    """Lets requests for a page wait until its store is open; says so where there is none.

    Args:
        app: What makes pages.
        stores: What may be shown.
    """

    def __init__(self, app: ASGIApp, stores: Stores) -> None:
        self._app = app
        self._stores = stores
        self._threads: CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        is_page = scope["type"] == "http" and scope["path"] == "/"
        wanted = _wanted(scope["query_string"]) if is_page else ""
        refusal = await self._refusal(wanted) if wanted and not self._stores.is_open(wanted) else None
        await (refusal or self._app)(scope, receive, send)

    async def _refusal(self, name: str) -> HTMLResponse | None:
        self._threads = self._threads or CapacityLimiter(AT_ONCE)
        try:
            await anyio.to_thread.run_sync(self._stores.open, name, limiter=self._threads)
        except UnknownStoreError:
            return self._page(f"There is no store “{name[:64]}” here", "There are:", 404)
        except (CcRayError, OSError) as error:
            _log.error("the store %s cannot be opened: %s", name, error)
            return self._page(
                f"The store “{name}” cannot be read now", "Load this page again in a while, or look at:", 503
            )
        return None

    def _page(self, trouble: str, hint: str, status: int) -> HTMLResponse:
        """What is wrong, and which stores there are; no word of where they lie."""
        links = "".join(
            f'<li><a href="./{f"?store={quote(name)}" if place else ""}">{escape(name)}</a></li>'
            for place, name in enumerate(self._stores.names)
        )
        return HTMLResponse(_template().substitute(trouble=escape(trouble), hint=hint, stores=links), status)


@cache
def _template() -> Template:
    return Template((Path(__file__).parent / "no_store.html").read_text())


def _wanted(query: bytes) -> str:
    """The store that an address names: what Bokeh makes of it, of several the first."""
    given = parse_qsl(query.decode("latin-1"))
    return next((value for name, value in given if name == "store"), "")
