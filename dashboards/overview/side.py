"""The tabs beside the plots: details of the selection, filters, the table of models, insights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from dashboards import markup
from dashboards.branching.pane import Branching
from dashboards.components import Html, Message
from dashboards.details import details, suggested
from dashboards.overview import shown
from dashboards.overview.filter_pane import filter_pane
from dashboards.overview.filters import Filters
from dashboards.overview.insights_pane import insights_pane
from dashboards.overview.model_table import columns, model_table, ordered
from dashboards.overview.refine import Chosen, pills, refined, toggled
from dashboards.session import Session
from dashboards.sharing.menu import Menu
from dashboards.snapshot import Snapshot
from dashboards.theme import layout
from dashboards.waiting import Question

HINTS: Final = {
    "details": "What the selected models are and how they differ",
    "filter": "Keep only the models that lie in intervals of metrics",
    "table": "All models that pass, sorted by any metric",
    "insights": "What stands out, in sentences",
    "compress": "Do more to the selected models, as a study of their own",
}
OFFER: Final = (
    '<button class="offer" data-do="set" data-name="side" data-value="compress" data-key="compress-offer"'
    ' title="Do more to what is selected, as a study of its own">Compress further …</button>'
)
ASKED: Final = {
    "details": frozenset({"side", "snapshot", "selection"}),
    "filter": frozenset({"side", "snapshot", "filters", "search"}),
    "table": frozenset({"side", "snapshot", "filters", "search", "columns", "order"}),
    "insights": frozenset({"side", "snapshot"}),
    "compress": frozenset({"side", "selection"}),
}
"""Changes after which a tab shows something else."""


class Side:
    """The card with the tabs.

    Args:
        session: The session's choices and data.
        do: What to tell of clicks.
    """

    def __init__(self, session: Session, do: Callable[[Message], None]) -> None:
        self.session = session
        self.head = Html(on=do, css_classes=["card-head", "tab-head"])
        self.body = Html(on=do, css_classes=["details", "scroll"], sizing_mode="stretch_both")
        self.menu = Menu(session)
        self.card = layout("card", "side-card", children=[self.head, self.body, self.menu])
        self.filters, self.kept = Filters(), list[str]()
        self.offset = 0
        self.refined: Chosen = {}
        self.branching = Branching(session, self._take_form)

    def asks(self, changed: frozenset[str]) -> Callable[[Filters, list[str]], str] | None:
        """What makes the tab in front of the models that pass, where a change concerns it and it shows them."""
        makes = self._of_passing(0).get(self.session.state.side)
        return makes if changed & ASKED[self.session.state.side] else None

    def _of_passing(self, offset: int) -> dict[str, Callable[[Filters, list[str]], str]]:
        """What makes the tabs that show the models that pass."""
        snapshot = self.session.snapshot
        return {
            "filter": partial(filter_pane, snapshot),
            "table": lambda filters, kept: _table(self.session, kept, offset),
        }

    def update(self, changed: frozenset[str], filters: Filters, kept: list[str], content: str | None = None) -> None:
        """Show what changed, if the tab in front shows it; its content where it was made already."""
        self.filters, self.kept = filters, kept
        tab = self.session.state.side
        if changed & {"side", "filters", "search", "selection", "snapshot"}:
            self.head.content = markup.tabs("side", self._titles(), tab, HINTS)
        if changed & {"filters", "search", "order"}:
            self.offset = 0
        if "selection" in changed:
            self.refined = {}
        if tab == "table" and changed & {"side", "selection", "snapshot"}:
            self.body.chosen = [row["model_id"] for row in self.session.selected]
        if changed & ASKED[tab]:
            self._ask(content)

    def turn(self, offset: int) -> None:
        """Show another page of the table."""
        self.offset = offset
        self._ask()

    def refine(self, message: Message) -> None:
        """Choose values that compared models must have, or take the choice back or over."""
        ids = [row["model_id"] for row in self.session.selected]
        if message["do"] == "refine-select":
            self.session.select(refined(self.session.snapshot, ids, self.refined))
            return
        pressed = message["do"] == "pill"
        self.refined = toggled(self.refined, message["name"], message["value"]) if pressed else {}
        self._ask()

    def choose(self, metric: str, on: bool) -> None:
        """Give the table a column, or take it away."""
        state, snapshot = self.session.state, self.session.snapshot
        names = [name for name in columns(snapshot, state.columns) if name != metric] + [metric] * on
        state.columns = ",".join(name for name in snapshot.metrics if name in names)

    def _titles(self) -> dict[str, str]:
        count = len(self.session.selected)
        return {
            "details": f"Details · {count:,}" if count else "Details",
            "filter": f"Filter · {self.filters.count}" if self.filters.active else "Filter",
            "table": f"Table · {len(self.kept):,}",
            "insights": "Insights",
            **({"compress": "Compress"} if self.session.operator else {}),
        }

    def _ask(self, content: str | None = None) -> None:
        if self.session.state.side == "compress":
            # What other tabs asked for must not come over it.
            self.body.busy = False
            self.session.apart("overview-side", lambda: None, lambda _: self.branching.ask())
            return
        state, chosen = self.session.state, [row["model_id"] for row in self.session.selected]
        tables = shown.side(self.session.snapshot, state, self.filters, chosen)
        self.menu.show(tables, picture=state.side == "filter" or (state.side == "details" and len(chosen) > 1))
        if content is None and state.side == "details" and not chosen:
            content = suggested(self.session.snapshot)
        if content is not None:
            # What was asked before must not come over it.
            self.session.cancel("overview-side")
            self.body.busy = self.body.stoppable = False
            self._take(content)
            return
        Question(self.session, "overview-side", self.body, self._work(), self._take).ask()

    def _work(self) -> Callable[[], str]:
        snapshot, state = self.session.snapshot, self.session.state
        chosen = [row["model_id"] for row in self.session.selected]
        if makes := self._of_passing(self.offset).get(state.side):
            return partial(makes, self.filters, self.kept)
        if state.side == "insights":
            return partial(insights_pane, snapshot)
        offer = OFFER if self.session.operator and chosen else ""
        return partial(_details, snapshot, chosen, self.refined, offer)

    def _take(self, content: str) -> None:
        self.body.content = content

    def _take_form(self, content: str) -> None:
        if self.session.state.side == "compress":
            self._take(content)


def _details(snapshot: Snapshot, ids: Sequence[str], chosen: Chosen, offer: str) -> str:
    if len(ids) < 2:
        return offer + details(snapshot, ids)
    compared = refined(snapshot, ids, chosen) if chosen else list(ids)
    above = offer + pills(snapshot, ids, chosen, len(compared))
    if not compared:
        return above + '<p class="empty">No model has all these values: take one back.</p>'
    return above + details(snapshot, compared)


def _table(session: Session, kept: Sequence[str], offset: int) -> str:
    snapshot, state = session.snapshot, session.state
    ids = ordered(snapshot, kept, state.order)
    return model_table(snapshot, ids, columns(snapshot, state.columns), state.order, offset)
