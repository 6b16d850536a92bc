"""Overview: the Model Map, any two metrics against each other, and what the selected models are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import panel as pn

from cc_ray import compare
from dashboards import figures, markup
from dashboards.components import Html, Message
from dashboards.details import details
from dashboards.elements import model_map, trade_off
from dashboards.legend import legend
from dashboards.map_layout import Arrangement
from dashboards.page import Page, page
from dashboards.session import DRAWING, Session
from dashboards.snapshot import Metric, Snapshot
from dashboards.theme import layout

NONE: Final = "none"
"""The choice of no metric; the empty choice is the default metric."""

PLOTTED: Final = frozenset({"snapshot", "arrange", "colour", "size", "x", "y", "log_x", "log_y"})
"""Changes after which the plots are other ones."""

FRONT: Final = "Models that no other one beats on both axes"
RELATIVES: Final = {
    "parents": compare.parents,
    "children": compare.children,
    "ancestors": compare.ancestors,
    "descendants": compare.descendants,
}


@dataclass(frozen=True)
class Encoding:
    """The metrics on the plots; "" for none."""

    colour: str
    size: str
    x: str
    y: str


@page("overview")
class Overview(Page):
    """What there is, what is worth a look, and how it differs."""

    title = "Overview"
    order = 10

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.controls = Html(on=self._do, css_classes=["controls"])
        self.axes = Html(on=self._do, css_classes=["card-head"])
        self.details = Html(on=self._do, css_classes=["details", "card", "scroll"], sizing_mode="stretch_both")
        self.actions = Html(on=self._do, css_classes=["card-head"])
        self.map_card = layout("card", "map-card", children=[self.actions])
        self.scatter_card = layout("card", "scatter-card", children=[self.axes])
        self._marking = False
        self.plots: tuple[figures.Plot, figures.Plot] | None = None
        self.drawn: tuple[object, ...] = ()

    def view(self) -> pn.viewable.Viewable:
        """Controls above; the map beside the scatterplot and the details."""
        return layout("overview", children=[self.controls, self.map_card, self.scatter_card, self.details])

    def update(self, changed: frozenset[str]) -> None:
        """Draw what the change touches: a selection is marked at once, plots are made apart."""
        if changed & PLOTTED:
            self._draw()
        if changed & {"selection", "snapshot"}:
            self._mark()
            self._explain()
        if changed & {"selection", *PLOTTED}:
            self.actions.content = actions(len(self.session.selected))
        if changed & PLOTTED:
            self.controls.content = self._controls()
            self.axes.content = self._axes()

    @property
    def encoding(self) -> Encoding:
        """The chosen metrics, defaults filled in where nothing or nothing known is chosen."""
        state, known = self.session.state, self.session.snapshot.metrics
        chosen = {name: getattr(state, name) for name in ("colour", "size", "x", "y")}
        none = {name: "" for name in ("colour", "size") if chosen[name] == NONE}
        defaults = default_encoding(self.session.snapshot)
        return replace(defaults, **{name: value for name, value in chosen.items() if value in known}, **none)

    def _draw(self) -> None:
        snapshot, state, encoding = self.session.snapshot, self.session.state, self.encoding
        if not snapshot.models or not (encoding.x and encoding.y):
            return
        arrange, log_x, log_y = state.arrange, state.log_x, state.log_y
        work = partial(_plots, snapshot, encoding, arrange, log_x, log_y)
        views = (arrange, encoding.x, encoding.y, log_x, log_y)
        self.session.apart("overview-plots", work, partial(self._show, views), DRAWING)

    def _show(self, views: tuple[object, ...], fresh: tuple[figures.Plot, figures.Plot]) -> None:
        same_scales = self.drawn[3:] == views[3:]
        if self.plots is None or not same_scales:
            figures.link(fresh)
            figures.on_selection(fresh[0], self._selected)
            self.plots = fresh
            # Marked before they are in the page: changes to what the browser does not know yet could overtake it.
            self._mark()
            self.map_card[:] = [self.actions, figures.fill(fresh[0].figure)]
            self.scatter_card[:] = [self.axes, figures.fill(fresh[1].figure)]
        else:
            figures.renew(self.plots[0], fresh[0], keep_view=self.drawn[:1] == views[:1])
            figures.renew(self.plots[1], fresh[1], keep_view=self.drawn[1:] == views[1:])
            self._mark()
        self.drawn = views

    def _mark(self) -> None:
        if self.plots is not None:
            self._marking = True
            ids = self.plots[0].source.data["model_id"]
            chosen = set(self.session.state.selection)
            for plot in self.plots:
                plot.source.selected.indices = [place for place, id in enumerate(ids) if id in chosen]
            self._marking = False

    def _point(self, model_id: str) -> None:
        """Ring a model in both plots, as if the pointer were on it; "" rings none."""
        for plot in self.plots or ():
            figures.ring(plot, model_id)

    def _selected(self, indices: list[int]) -> None:
        if self._marking or self.plots is None:
            return
        ids = [self.plots[0].source.data["model_id"][place] for place in indices]
        current = [id for id in self.session.state.selection if id in set(ids)]
        self.session.select(current + ids)

    def _explain(self) -> None:
        snapshot, ids = self.session.snapshot, [row["model_id"] for row in self.session.selected]
        self.session.apart("overview-details", partial(details, snapshot, ids), self._show_details)

    def _show_details(self, content: str) -> None:
        self.details.content = content

    def _do(self, message: Message) -> None:
        do, state = message["do"], self.session.state
        if do == "set":
            given = message["value"]
            kind = type(getattr(state, message["name"]))
            state.param.update(**{message["name"]: given == "1" if kind is bool else given})
        elif do == "select":
            self.session.select([message["model"]], add=message["add"])
        elif do == "point":
            self._point(message["model"])
        elif do == "front":
            self.session.select(message["models"].split())
        elif do == "clear":
            state.selection = []
        else:
            related = RELATIVES[do](self.session.snapshot.views, state.selection)
            self.session.select([*state.selection, *related])

    def _controls(self) -> str:
        state, snapshot, encoding = self.session.state, self.session.snapshot, self.encoding
        names = {name: metric.label for name, metric in snapshot.metrics.items()}
        arranged = markup.switch("arrange", {"operation": "By operation", "step": "By step"}, state.arrange)
        return (
            f'<div class="bar"><span class="field"><span>Arrange</span>{arranged}</span>'
            + markup.select("colour", "Colour", {**names, NONE: "None"}, encoding.colour or NONE)
            + legend(snapshot, encoding.colour, "colour")
            + markup.select("size", "Size", {**names, NONE: "None"}, encoding.size or NONE)
            + legend(snapshot, encoding.size, "size")
            + "</div>"
        )

    def _axes(self) -> str:
        state, encoding = self.session.state, self.encoding
        names = {name: metric.label for name, metric in self.session.snapshot.metrics.items()}
        return (
            '<div class="bar">'
            + markup.select("y", "Y", names, encoding.y)
            + markup.toggle("log_y", "log", state.log_y, "Logarithmic y axis")
            + markup.select("x", "X", names, encoding.x)
            + markup.toggle("log_x", "log", state.log_x, "Logarithmic x axis")
            + f'<span class="hint front-key optional" title="{FRONT}">Trade-off front</span></div>'
        )


def default_encoding(snapshot: Snapshot) -> Encoding:
    """The metrics shown before anyone chooses: quality upwards, size to the side."""
    known = snapshot.primary or list(snapshot.metrics.values())
    quality = _first(known, "accuracy", "f1", "higher")
    size = _first([metric for metric in known if metric.metric != quality], "size", "latency", "lower")
    return Encoding(quality, size, size, quality)


def _first(metrics: list[Metric], *wanted: str) -> str:
    for want in wanted:
        for metric in metrics:
            if want in metric.metric or want == metric.direction:
                return metric.metric
    return metrics[0].metric if metrics else ""


def actions(count: int) -> str:
    """What can be done with a selection; how to select where there is none."""
    if not count:
        return '<div class="bar hint">Click or drag to select models, with Shift to add. Scroll to zoom.</div>'
    relatives = "".join(
        markup.button(name, f"+ {name.capitalize()}", f"Add the {name} of the selected models") for name in RELATIVES
    )
    return f'<div class="bar"><span><b>{count}</b> selected</span>{relatives}{markup.button("clear", "Clear")}</div>'


def _plots(
    snapshot: Snapshot, encoding: Encoding, arrange: Arrangement, log_x: bool, log_y: bool
) -> tuple[figures.Plot, figures.Plot]:
    shown = [encoding.colour, encoding.size, encoding.x, encoding.y]
    columns = {
        "model_id": list(snapshot.models),
        "tooltip": [markup.tooltip(snapshot, id, shown) for id in snapshot.models],
    }
    colour, size = encoding.colour, encoding.size
    drawn = model_map(snapshot.views, arrange=arrange, colour=colour, size=size)
    scatter = trade_off(snapshot.views, encoding.x, encoding.y, colour, size=size, log_x=log_x, log_y=log_y)
    return figures.render(drawn, columns), figures.render(scatter, columns)
