"""Questions whose answers may take their time: the part of the page that waits tells so, and lets one cancel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from dashboards.components import Html, Message
from dashboards.session import ASKING, Session

Found = TypeVar("Found")

CANCELLED: Final = (
    '<p class="empty cancelled" role="status">Cancelled. <button data-do="again-work" data-key="again-work">Run again'
    "</button></p>"
)
FAILED: Final = '<p class="failure">This could not be made. Choose again, or load the page anew.</p>'


@dataclass(frozen=True)
class Question(Generic[Found]):
    """What a part of the page asks.

    What is on the part stays while it waits, under a sign; after a second the sign has a button that cancels. Then the
    thread and the database are free again, as soon as they notice, and the part offers to ask once more.
    """

    session: Session
    slot: str
    """Names the place where answers go: newer questions for the same place overtake older ones."""
    part: Html
    """Where the answer is shown, or what is told instead of one."""
    work: Callable[[], Found]
    """Makes the answer in a thread."""
    show: Callable[[Found], None]
    """What is done with it."""
    sign: Html | None = None
    """Tells that it waits; without it, the part itself."""
    beside: Sequence[Html] = ()
    """Parts that show some of the answer, too."""
    pool: ThreadPoolExecutor = field(default=ASKING, kw_only=True)
    """Whose thread."""
    instead: Callable[[], None] | None = field(default=None, kw_only=True)
    """Done where there is no answer, before the part tells why: puts it into the page if it is not there."""

    def ask(self) -> None:
        """Ask, apart from the event loop."""
        self.part.slow = self._sign.slow = self._do
        self._wait(True)
        self.session.apart(self.slot, self.work, self._take, self.pool, lambda: self._tell(FAILED), stoppable=True)

    @property
    def _sign(self) -> Html:
        return self.sign or self.part

    def _wait(self, busy: bool) -> None:
        self._sign.param.update(busy=busy, stoppable=busy)
        for each in self.beside:
            each.busy = busy

    def _take(self, found: Found) -> None:
        self._wait(False)
        self.show(found)

    def _tell(self, content: str) -> None:
        self._wait(False)
        if self.instead:
            self.instead()
        self.part.content = content
        for each in self.beside:
            each.content = ""

    def _do(self, message: Message) -> None:
        if message["do"] == "again-work":
            self.ask()
        elif self._sign.busy:
            self.session.cancel(self.slot)
            self._tell(CANCELLED)
