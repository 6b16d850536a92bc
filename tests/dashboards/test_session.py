"""When a tab's page changes, seen from the session."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bokeh.document import Document
from bokeh.server.contexts import BokehSessionContext

from dashboards.session import Session
from dashboards.user import User


class Tab:
    """A session whose page a browser takes when the test says so."""

    def __init__(self, connections: int) -> None:
        self.doc = Document()
        context = BokehSessionContext(cast(Any, "tab"), cast(Any, None), self.doc)
        context._set_session(cast(Any, SimpleNamespace(connection_count=connections, destroyed=False)))
        self.doc._session_context = cast(Any, lambda: context)
        self.session = Session(cast(Any, SimpleNamespace(snapshot=None)), self.doc, User("", False))

    async def turn(self) -> None:
        """Let the event loop do what there is to do."""
        for _ in range(20):
            await asyncio.sleep(0.01)
            for callback in list(self.doc.session_callbacks):
                self.doc.remove_next_tick_callback(cast(Any, callback))
                callback.callback()


@pytest.mark.parametrize(("connections", "before"), [(0, ["found"]), (1, [])])
def test_results_wait_only_while_the_browser_draws_the_page_that_it_took(connections: int, before: list[str]) -> None:
    shown: list[str] = []

    async def look() -> list[str]:
        tab = Tab(connections)
        tab.session.apart("place", lambda: "found", shown.append)
        await tab.turn()
        early = list(shown)
        tab.session.ready.set()
        await tab.turn()
        return early

    assert asyncio.run(look()) == before
    assert shown == ["found"]
