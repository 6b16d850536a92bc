"""One open tab: its choices, its data, and work done apart from the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar, cast

from bokeh.document import Document
from bokeh.server.contexts import BokehSessionContext
from panel.io import hold

from cc_ray.errors import StoppedError
from cc_ray.stopping import Stop
from dashboards.operating import Operator, Runs
from dashboards.snapshot import Row, Snapshot, Source
from dashboards.state import State
from dashboards.user import User
from dashboards.writing import Comparisons

Result = TypeVar("Result")
log = logging.getLogger(__name__)

DRAWING: Final = ThreadPoolExecutor(1, thread_name_prefix="drawing")
"""Makes plots: one at a time, because HoloViews keeps its options in one place for the whole process."""
ASKING: Final = ThreadPoolExecutor(4, thread_name_prefix="asking")
"""Asks the store."""
OPERATING: Final = ThreadPoolExecutor(4, thread_name_prefix="operating")
"""Asks Ray and job servers, which may take long to answer: questions to the store do not wait for them."""


class Session:
    """What the pages of one tab share.

    Args:
        source: Where snapshots come from.
        doc: The tab's Bokeh document.
        user: Who looks at it.
        comparisons: Keeps what is saved of the screen; None where nothing can be written.
        runs: What is known of studies beside the store; None where nothing is.
        store: Name of the store in the address; empty where it needs none.
    """

    def __init__(
        self,
        source: Source,
        doc: Document,
        user: User,
        comparisons: Comparisons | None = None,
        runs: Operator | None = None,
        store: str = "",
    ) -> None:
        self.source = source
        self.doc = doc
        self.user = user
        self.comparisons = comparisons
        self.runs: Runs | None = runs
        self.operator = runs if user.operator else None
        """Does what operators may do: there is none for those who only read."""
        self.snapshot: Snapshot = source.snapshot
        self.state = State(store)
        self.ready = asyncio.Event()
        """Set when the browser has drawn the page that it took: parts that come while it does so would be lost."""
        self.on_failure: Callable[[str], None] = log.error
        """Told when a view could not be made, in one line."""
        self._latest: dict[str, int] = {}
        self._stops: dict[str, Stop] = {}
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
        self,
        slot: str,
        work: Callable[[], Result],
        show: Callable[[Result], None],
        pool: ThreadPoolExecutor = ASKING,
        failed: Callable[[], None] | None = None,
        *,
        stoppable: bool = False,
    ) -> None:
        """Do work in a thread, then show its result in the tab; work that newer work overtook is not begun.

        Args:
            slot: Names the place where results go: an older result for the same place is dropped.
            work: Runs in the thread; must not touch the document.
            show: Runs with the document's lock held.
            pool: Whose thread.
            failed: Told, with the document's lock held, where the newest work raised an error.
            stoppable: Whether newer work, `cancel` and the end of the tab stop the work where it is: for questions,
                which leave nothing half done.
        """
        ticket, stop = self._next(slot), Stop()
        if stoppable:
            self._stops[slot] = stop

        def newest() -> bool:
            return self._latest[slot] == ticket and not self._closed

        async def run() -> None:
            try:
                # None stands for nothing only where it is not looked at.
                result = await asyncio.get_running_loop().run_in_executor(
                    pool, lambda: stop.run(work) if newest() else None
                )
            except StoppedError:
                if stop.asked:
                    return
                raise
            except Exception:
                if failed is not None and newest():
                    self._tell(failed)
                raise
            self._tell(lambda: show(cast(Result, result)) if newest() else None)

        self._start(run())

    def once_drawn(self, work: Callable[[], None]) -> None:
        """Have work that nobody waits for done by the thread that draws, once the browser has drawn the page."""

        async def later() -> None:
            await self.ready.wait()
            await asyncio.get_running_loop().run_in_executor(DRAWING, work)

        self._start(later())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _tell(self, show: Callable[[], None]) -> None:
        """Change the document when its lock is free; the browser gets all changes as one message.

        What comes before the browser takes the page is in it from the beginning.
        """

        async def later() -> None:
            await self.ready.wait()
            self._tell(show)

        def change() -> None:
            if self._taken and not self.ready.is_set():
                self._start(later())
                return
            with hold(self.doc):
                show()

        self.doc.add_next_tick_callback(change)

    @property
    def _taken(self) -> bool:
        """Whether the browser takes the page as it is, or took it already."""
        context = self.doc.session_context
        tab = context.session if isinstance(context, BokehSessionContext) else None
        return tab is None or tab.connection_count > 0

    def cancel(self, slot: str) -> None:
        """Stop the work for a place; what it came to is not shown. What cannot be stopped ends by itself."""
        self._next(slot)

    def _next(self, slot: str) -> int:
        """The number of the newest work for a place; what was newest until now is stopped if it can be."""
        if slot in self._stops:
            self._stops.pop(slot).ask()
        self._latest[slot] = self._latest.get(slot, 0) + 1
        return self._latest[slot]

    def _close(self, context: object) -> None:
        """Bokeh must not be told of news for a document that is gone: that spoils those of other tabs as well."""
        self._closed = True
        for task in self._running:
            task.cancel()
        for stop in self._stops.values():
            stop.ask()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a view could not be made", exc_info=error)
            reason = f"{type(error).__name__}: {error}"
            if not self._closed:
                self._tell(lambda: self.on_failure(reason))
