"""Overview: the Model Map, any two metrics against each other, and what the selected models are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import panel as pn

from cc_ray import compare
from dashboards.components import Html, Message
from dashboards.details import details
from dashboards.overview import bars, map_choice, shown
from dashboards.overview.encoding import Encoding
from dashboards.overview.filters import OPEN, Filters, Interval, passing
from dashboards.overview.plots import Drawn, Front, Plots, prepare
from dashboards.overview.side import Side
from dashboards.overview.trade_offs_card import TradeOffs
from dashboards.page import Page, page
from dashboards.session import Session
from dashboards.sharing.menu import Menu
from dashboards.snapshot import Snapshot
from dashboards.state import State
from dashboards.theme import layout
from dashboards.waiting import Question

PLOTTED: Final = frozenset(
    {
        "snapshot",
        "arrange",
        "colour",
        "size",
        "x",
        "y",
        "log_x",
        "log_y",
        "filters",
        "search",
        "groups",
        "dim",
        "fold",
        "unfolded",
        "shown",
    }
)
"""Changes after which the plots are other ones."""
RELATIVES: Final = {
    "parents": compare.parents,
    "children": compare.children,
    "ancestors": compare.ancestors,
    "descendants": compare.descendants,
}


@dataclass(frozen=True)
class Passing:
    """The models that pass, and what is shown of them, as far as it was asked for."""

    kept: list[str]
    front: Front | None = None
    side: str | None = None


@page("overview")
class Overview(Page):
    """What there is, what is worth a look, and how it differs."""

    title = "Overview"
    order = 10

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.kept: list[str] = list(session.snapshot.models)
        self.controls = Html(on=self._do, css_classes=["controls"])
        self.actions = Html(on=self._do, css_classes=["card-head", "map-head"])
        self.menu = Menu(session, picture=True)
        self.plots = Plots(session, self._selected, self._limit, self._turn, self._wait)
        self.trade_offs = TradeOffs(session, self._do, self.plots.scatter_stage)
        self.side = Side(session, self._do)

    @classmethod
    def prepare(cls, snapshot: Snapshot) -> None:
        """Draw the plots that every tab begins with, and find what it recommends."""
        if snapshot.models:
            map_choice.sweeps(snapshot)
            prepare(_drawn(snapshot, State(), list(snapshot.models), filtered=False))
            details(snapshot, [])

    def view(self) -> pn.viewable.Viewable:
        """Controls above; the map beside the scatterplot and the tabs."""
        return layout(
            "overview",
            children=[
                self.controls,
                layout("card", "map-card", children=[self.actions, self.plots.map_stage, self.menu]),
                self.trade_offs.card,
                self.side.card,
            ],
        )

    def update(self, changed: frozenset[str]) -> None:
        """Draw what the change touches: a selection is marked at once, plots are made apart."""
        if not changed & {"filters", "search", "snapshot"}:
            self._show(changed)
        elif self._all_pass():
            self.session.cancel("overview-passing")
            self._pass(changed, Passing(list(self.session.snapshot.models)))
        else:
            # What passes comes first: all else shows it. What follows from it alone comes with it, as one answer.
            show = partial(self._pass, changed)
            Question(self.session, "overview-passing", self.actions, self._asked(changed), show).ask()

    def _all_pass(self) -> bool:
        """Whether it is known what passes, and what else the plots wait for, without asking."""
        return not self.filters.active and map_choice.known(self.session.snapshot)

    def _asked(self, changed: frozenset[str]) -> Callable[[], Passing]:
        """What finds the models that pass, the front of them, and what the tab beside the plots shows of them."""
        snapshot, filters, draw = self.session.snapshot, self.filters, self._drawn
        front, side = self.plots.front(draw([])), self.side.asks(changed)

        def work() -> Passing:
            kept = _passing(snapshot, filters)
            return Passing(
                kept,
                front(draw(kept)) if front else None,
                side(filters, kept) if side else None,
            )

        return work

    @property
    def filters(self) -> Filters:
        """What models must fulfil."""
        state = self.session.state
        return Filters.read(state.filters, state.search, self.session.snapshot.metrics)

    @property
    def encoding(self) -> Encoding:
        """The metrics on the plots."""
        return Encoding.of(self.session.snapshot, self.session.state)

    def _pass(self, changed: frozenset[str], found: Passing) -> None:
        self.kept = found.kept
        if self.filters.active:
            among = set(found.kept)
            # Whoever watches the state draws the selection anew.
            self.session.state.selection = [id for id in self.session.state.selection if id in among]
        self.plots.filter(self.filters, set(found.kept))
        self._show(changed, found)

    def _show(self, changed: frozenset[str], found: Passing | None = None) -> None:
        state, snapshot = self.session.state, self.session.snapshot
        if changed & PLOTTED:
            self.plots.draw(self._drawn(self.kept), found.front if found else None)
            self.menu.show(shown.model_map())
        if changed & {"selection", "snapshot"}:
            self.plots.mark()
        if changed & {"selection", *PLOTTED}:
            self.actions.content = bars.actions(self.session.selected, snapshot, state)
        if changed & PLOTTED:
            self.controls.content = bars.controls(snapshot, state, self.encoding, self.filters, self.kept)
        self.trade_offs.update(changed, self.encoding, self.filters, self.kept)
        self.side.update(changed, self.filters, self.kept, found.side if found else None)

    def _drawn(self, kept: list[str]) -> Drawn:
        return _drawn(self.session.snapshot, self.session.state, kept, self.filters.active)

    def _wait(self, busy: bool) -> None:
        """Tell that plots are being made."""
        self.actions.busy = busy

    def _turn(self, sweep: str) -> None:
        self.session.state.unfolded = map_choice.turned(self.session.state, sweep)

    def _turn_selected(self) -> None:
        """Unfold the sweeps of the selected models; fold them where none is folded."""
        state, snapshot = self.session.state, self.session.snapshot
        found = map_choice.sweeps_of(snapshot, state.selection)
        fold = not found & map_choice.folded(snapshot, state)
        state.unfolded = map_choice.with_turned(state, found, fold=fold)

    def _selected(self, ids: list[str]) -> None:
        among = set(ids)
        self.session.select([id for id in self.session.state.selection if id in among] + ids)

    def _do(self, message: Message) -> None:
        does: dict[str, Callable[[Message], None]] = {
            "set": self._set,
            "select": lambda m: self.session.select([m["model"]], add=m["add"]),
            "select-kept": lambda m: self.session.select(self.kept),
            "select-all": lambda m: self.session.select(m["models"].split()),
            "turn-sweeps": lambda m: self._turn_selected(),
            "clear": lambda m: self.session.select([]),
            "insight": lambda m: self.session.select([m["model"]], add=m["add"]),
            "look": self._look,
            "add-filter": lambda m: self._filter(self.filters.with_(m["value"])) if m["value"] else None,
            "drop-filter": lambda m: self._filter(self.filters.without(m["name"])),
            "clear-filters": lambda m: self._unfilter(),
            "brush": lambda m: self._filter(self.filters.with_(m["model"], (m.get("low"), m.get("high")))),
            "span": self._span,
            "pill": self.side.refine,
            "refine-select": self.side.refine,
            "refine-reset": self.side.refine,
            "page": lambda m: self.side.turn(int(m["offset"])),
            "column": lambda m: self.side.choose(m["name"], bool(m["value"])),
        }
        do = message["do"]
        if do in does:
            does[do](message)
        elif do.startswith("branch-"):
            self.side.branching.do(message)
        else:
            related = RELATIVES[do](self.session.snapshot.views, self.session.state.selection)
            self.session.select([*self.session.state.selection, *related])

    def _set(self, message: Message) -> None:
        given, state = message["value"], self.session.state
        kind = type(getattr(state, message["name"]))
        state.param.update(**{message["name"]: given == "1" if kind is bool else given})

    def _filter(self, filters: Filters) -> None:
        self.session.state.filters = filters.text

    def _limit(self, metric: str, ends: Interval) -> None:
        """Take the limit that a line was dragged to, and leave the other end of the interval as it is."""
        low, high = self.filters.intervals.get(metric, OPEN)
        lower = self.session.snapshot.metrics[metric].direction == "lower"
        both = (low, ends[1]) if lower else (ends[0], high)
        self._filter(self.filters.without(metric) if both == OPEN else self.filters.with_(metric, both))

    def _unfilter(self) -> None:
        self.session.state.param.update(filters="", search="")

    def _look(self, message: Message) -> None:
        self.session.state.param.update(selection=[message["model"]], page=message["page"])

    def _span(self, message: Message) -> None:
        """Select five models that span the front, of those that pass."""
        snapshot, encoding = self.session.snapshot, self.encoding
        names = list(dict.fromkeys([encoding.y, encoding.x]))
        work = partial(compare.spanning, snapshot.views, names, ids=self.kept)
        self.session.apart("overview-span", work, lambda found: self.session.select(found["model_id"].to_pylist()))


def _drawn(snapshot: Snapshot, state: State, kept: list[str], filtered: bool) -> Drawn:
    encoding = Encoding.of(snapshot, state)
    return Drawn(
        snapshot,
        encoding,
        state.arrange,
        state.log_x,
        state.log_y,
        tuple(kept) if filtered else None,
        state.groups,
        state.dim,
        map_choice.folded(snapshot, state),
        map_choice.folds(snapshot, state),
        map_choice.on_map(snapshot, state, encoding, kept),
    )


def _passing(snapshot: Snapshot, filters: Filters) -> list[str]:
    """What passes; apart from the event loop, so what else the plots wait for is found beside it."""
    map_choice.sweeps(snapshot)
    return passing(snapshot, filters)
