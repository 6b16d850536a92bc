"""One open tab: its choices, its data, and work done apart from the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from bokeh.document import Document

from dashboards.snapshot import Row, Snapshot, Source
from dashboards.state import State

Result = TypeVar("Result")
log = logging.getLogger(__name__)

DRAWING: Final = ThreadPoolExecutor(1, thread_name_prefix="drawing")
"""Makes plots: one at a time, because HoloViews keeps its options in one place for the whole process."""
ASKING: Final = ThreadPoolExecutor(4, thread_name_prefix="asking")
"""Asks the store."""


class Session:
    """What the pages of one tab share.

    Args:
        source: Where snapshots come from.
        doc: The tab's Bokeh document.
    """

    def __init__(self, source: Source, doc: Document) -> None:
        self.source = source
        self.doc = doc
        self.snapshot: Snapshot = source.snapshot
        self.state = State()
        self.ready = asyncio.Event()
        """Set when the browser has drawn the empty page: parts that come while it does so would be lost."""
        self.on_failure: Callable[[str], None] = log.error
        """Told when a view could not be made, in one line."""
        self._latest: dict[str, int] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        doc.on_session_destroyed(self._close)

    @property
    def selected(self) -> list[Row]:
        """Rows of the selected models that exist, in order of choice."""
        return [self.snapshot.models[id] for id in self.state.selection if id in self.snapshot.models]

    def select(self, ids: list[str], *, add: bool = False) -> None:
        """Make models the selection; with `add`, put them to it, or take them out if all are in it."""
        current = list(self.state.selection)
        if add and all(id in current for id in ids):
            ids = [id for id in current if id not in ids]
        elif add:
            ids = current + ids
        self.state.selection = list(dict.fromkeys(ids))

    def apart(
        self, slot: str, work: Callable[[], Result], show: Callable[[Result], None], pool: ThreadPoolExecutor = ASKING
    ) -> None:
        """Do work in a thread, then show its result in the tab.

        Args:
            slot: Names the place where results go: an older result for the same place is dropped.
            work: Runs in the thread; must not touch the document.
            show: Runs with the document's lock held.
            pool: Whose thread.
        """
        ticket = self._latest[slot] = self._latest.get(slot, 0) + 1

        async def run() -> None:
            result = await asyncio.get_running_loop().run_in_executor(pool, work)
            await self.ready.wait()
            if self._latest[slot] == ticket and not self._closed:
                self.doc.add_next_tick_callback(lambda: show(result))

        task = asyncio.get_running_loop().create_task(run())
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _close(self, context: object) -> None:
        """Bokeh must not be told of news for a document that is gone: that spoils those of other tabs as well."""
        self._closed = True

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a view could not be made", exc_info=error)
            reason = f"{type(error).__name__}: {error}"
            if not self._closed:
                self.doc.add_next_tick_callback(lambda: self.on_failure(reason))
