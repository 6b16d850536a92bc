"""The card of trade-offs: the scatterplot with its front, the search's progress, recipes against metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from bokeh.plotting import figure as Figure
from panel.viewable import Viewable

from cc_ray.errors import CcRayError
from dashboards import figures, markup
from dashboards.components import Html, Message
from dashboards.markup import esc
from dashboards.overview import bars, parallel, progress, shown
from dashboards.overview.encoding import Encoding
from dashboards.overview.filters import Filters
from dashboards.session import DRAWING, Session
from dashboards.sharing.menu import Menu
from dashboards.snapshot import Snapshot
from dashboards.theme import layout
from dashboards.waiting import Question

TITLES: Final = {"front": "Trade-offs", "progress": "Progress", "recipes": "Recipes"}
HINTS: Final = {
    "front": "Two metrics against each other, with the best compromises",
    "progress": "How much better the best compromises became, model by model",
    "recipes": "What recipes differ in against what they led to",
}
ASKED: Final = {
    "front": frozenset[str](),
    "progress": frozenset({"trade_offs", "snapshot", "x", "y"}),
    "recipes": frozenset({"trade_offs", "snapshot", "x", "y", "colour", "size", "filters", "search", "selection"}),
}
"""Changes after which a view shows something else; the front is drawn with the map."""


class TradeOffs:
    """The card with its three views.

    Args:
        session: The session's choices and data.
        do: What to tell of clicks.
        front: Where the scatterplot is drawn.
    """

    def __init__(self, session: Session, do: Callable[[Message], None], front: Viewable) -> None:
        self.session = session
        self.head = Html(on=do, css_classes=["card-head", "tab-head"])
        self.front = front
        self.progress = layout("stage")
        self.recipes = Html(on=do, css_classes=["recipes", "scroll"], sizing_mode="stretch_both")
        self.menu = Menu(session, picture=True)
        parts = [self.head, front, self.progress, self.recipes, self.menu]
        self.card = layout("card", "scatter-card", children=parts)

    def update(self, changed: frozenset[str], encoding: Encoding, filters: Filters, kept: list[str]) -> None:
        """Show what changed, if the view in front shows it."""
        state = self.session.state
        for name in TITLES:
            getattr(self, name).visible = name == state.trade_offs
        if changed & {"trade_offs", "snapshot", "x", "y", "log_x", "log_y", "groups", "dim", "filters", "search"}:
            self.head.content = self._head(encoding, kept)
            self.menu.show(shown.trade_offs(self.session.snapshot, state, encoding, filters, kept))
        if changed & ASKED[state.trade_offs]:
            ask = self._progress if state.trade_offs == "progress" else self._recipes
            ask(encoding, filters, kept)

    def _head(self, encoding: Encoding, kept: list[str]) -> str:
        state, snapshot = self.session.state, self.session.snapshot
        tabs = markup.tabs("trade_offs", TITLES, state.trade_offs, HINTS)
        if state.trade_offs == "front":
            return tabs + bars.axes(snapshot, state, encoding)
        if state.trade_offs == "recipes":
            return tabs + f'<div class="bar hint">{esc(parallel.MEANING)}</div>'
        return tabs + f'<div class="bar hint">{esc(progress.MEANING)}</div>'

    def _progress(self, encoding: Encoding, filters: Filters, kept: list[str]) -> None:
        names = list(dict.fromkeys([encoding.y, encoding.x]))
        work = partial(_drawn, self.session.snapshot, names)
        told = Html()

        def instead() -> None:
            self.progress[:] = [told]

        slot = "overview-trade-offs"
        Question(self.session, slot, told, work, self._show_progress, self.head, pool=DRAWING, instead=instead).ask()

    def _show_progress(self, found: Figure | str) -> None:
        self.progress[:] = [Html(found) if isinstance(found, str) else figures.fill(found)]

    def _recipes(self, encoding: Encoding, filters: Filters, kept: list[str]) -> None:
        snapshot = self.session.snapshot
        chosen = [row["model_id"] for row in self.session.selected]
        ids = chosen if len(kept) > parallel.MOST and len(chosen) > 1 else kept
        metrics = list(dict.fromkeys([encoding.y, encoding.x, *(metric.metric for metric in snapshot.primary)]))
        work = partial(parallel.parallel, snapshot, tuple(ids), metrics, filters, encoding.colour, chosen)
        Question(self.session, "overview-trade-offs", self.recipes, work, self._show_recipes, self.head).ask()

    def _show_recipes(self, content: str) -> None:
        self.recipes.content = content


def _drawn(snapshot: Snapshot, objectives: list[str]) -> Figure | str:
    try:
        return figures.plain(partial(progress.of_snapshot, snapshot, objectives), "Hypervolume by number of models")
    except CcRayError as error:
        return f'<p class="empty">{markup.sentence(str(error))}</p>'
