"""From HoloViews elements to live Bokeh figures: tools, selection, hover, and new data without a new figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import holoviews as hv
import panel as pn
from bokeh.document import Document
from bokeh.models import (
    BoxSelectTool,
    ColumnDataSource,
    CustomJS,
    HoverTool,
    LassoSelectTool,
    PanTool,
    Rect,
    ResetTool,
    Scatter,
    Segment,
    TapTool,
    Text,
    WheelZoomTool,
)
from bokeh.models.glyph import Glyph
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure as Figure

from dashboards.theme import ACCENT, FONT, LABEL_PX

RING_PX: Final = 7
"""How much wider than its point the ring of hovering is."""
_AXIS: Final = ("axis_label", "formatter", "ticker", "major_label_overrides", "major_label_orientation")
_PLAIN_FOCUS: Final = ".bk-Canvas { --outline-width: 0px }"

_RING: Final = """
const i = cb_data.index.indices[0]
for (const [source, ring, x, y] of places) {
  const at = (name) => i === undefined ? [] : [source.data[name][i]]
  ring.data = { x: at(x), y: at(y), size: at("size").map((size) => size + reach) }
}
"""

_FADE: Final = """
for (const edge of edges) edge.line_color = { field: selected.indices.length ? "faded" : "color" }
"""

_FIT: Final = """
const { x_range, y_range, inner_width, inner_height } = figure
const { full, label, room, column, offset } = texts.data
const across = inner_width / (x_range.end - x_range.start)
const down = inner_height / (y_range.end - y_range.start)
const pen = document.createElement("canvas").getContext("2d")
pen.font = font
let changed = false
for (let i = 0; i < full.length; i++) {
  const columns = Math.min(room[i], x_range.end - column[i])
  const words = full[i].split(" ")
  while (words.length > 1 && pen.measureText(words.join(" ")).width > columns * across - offset[i] - 6) words.pop()
  const text = down < 9 ? "" : words.join(" ")
  changed ||= text !== label[i]
  label[i] = text
}
if (changed) texts.change.emit()
"""


@dataclass(frozen=True)
class Plot:
    """A figure whose points stand for models."""

    figure: Figure
    points: Any
    """The `GlyphRenderer` of the points."""
    ring: ColumnDataSource

    @property
    def source(self) -> Any:
        """The points, one row a model: a `ColumnDataSource`."""
        return self.points.data_source

    @property
    def place(self) -> list[Any]:
        """What the hover ring needs to know of this plot."""
        return [self.source, self.ring, self.points.glyph.x, self.points.glyph.y]


def render(element: hv.Dimensioned, columns: Mapping[str, Sequence[Any]]) -> Plot:
    """Make a figure of an element that has points for models.

    Args:
        element: An overlay with one Points element.
        columns: Further columns of the points: "model_id" and "tooltip" (HTML).
    """
    figure = _figure(element)
    points = _drawn(figure, Scatter)[0]
    data = points.data_source.data
    data.update(columns)
    data.setdefault("size", [points.glyph.size] * len(data["model_id"]))
    for texts in _drawn(figure, Text):
        _fit_labels(figure, texts.data_source)
    ring = ColumnDataSource({"x": [], "y": [], "size": []})
    look: dict[str, Any] = {"fill_color": None, "line_color": ACCENT, "line_width": 2, "level": "overlay"}
    figure.scatter("x", "y", size="size", source=ring, **look)
    _equip(figure, points)
    return Plot(figure, points, ring)


def link(plots: Sequence[Plot]) -> None:
    """Select and hover in one plot, see it in all of them; answered by the browser alone."""
    for plot in plots:
        edges = [found.glyph for found in _drawn(plot.figure, Segment) if "faded" in found.data_source.data]
        fade = CustomJS(args={"edges": edges, "selected": plot.source.selected}, code=_FADE)
        plot.source.selected.js_on_change("indices", fade)
        plot.source.js_on_change("data", fade)
        plot.figure.js_on_change("inner_width", fade)
        for other in plots:
            if other is not plot:
                plot.source.selected.js_link("indices", other.source.selected, "indices")
        hover = next(tool for tool in plot.figure.tools if isinstance(tool, HoverTool))
        hover.callback = CustomJS(args={"places": [other.place for other in plots], "reach": RING_PX}, code=_RING)


def ring(plot: Plot, model_id: str) -> None:
    """Put the hover ring around a model's point; around none for an unknown one."""
    data = plot.source.data
    places = [place for place, id in enumerate(data["model_id"]) if id == model_id]
    x, y = (data[name] for name in (plot.points.glyph.x, plot.points.glyph.y))
    plot.ring.data = {
        "x": [x[place] for place in places],
        "y": [y[place] for place in places],
        "size": [data["size"][place] + RING_PX for place in places],
    }


def renew(old: Plot, new: Plot, *, keep_view: bool) -> None:
    """Give a figure that is on the screen the data, axes and, unless kept, the view of a new one."""
    for shown, fresh in zip(_drawn(old.figure), _drawn(new.figure), strict=True):
        for part in ("glyph", "selection_glyph", "nonselection_glyph"):
            given = getattr(fresh, part)
            if isinstance(given, Glyph):
                getattr(shown, part).update(**given.properties_with_values(include_defaults=False))
        shown.data_source.data = dict(fresh.data_source.data)
    for shown, fresh in zip(old.figure.xaxis + old.figure.yaxis, new.figure.xaxis + new.figure.yaxis, strict=True):
        shown.update(**{name: getattr(fresh, name) for name in _AXIS})
    for shown, fresh in zip(old.figure.grid, new.figure.grid, strict=True):
        shown.ticker = fresh.ticker
    for name in ("x_range", "y_range"):
        shown, fresh = getattr(old.figure, name), getattr(new.figure, name)
        ends = {"reset_start": fresh.start, "reset_end": fresh.end}
        moved = (shown.start, shown.end) != (shown.reset_start, shown.reset_end)
        shown.update(**ends) if keep_view and moved else shown.update(start=fresh.start, end=fresh.end, **ends)


def on_selection(plot: Plot, told: Callable[[list[int]], None]) -> None:
    """Call back with the indices of the selected points whenever the user selects."""
    plot.source.selected.on_change("indices", lambda name, old, new: told(list(new)))


def _fit_labels(figure: Figure, texts: ColumnDataSource) -> None:
    """Keep as many words of each label as there is room for at the present size and zoom."""
    callback = CustomJS(args={"figure": figure, "texts": texts, "font": f"{LABEL_PX}px {FONT}"}, code=_FIT)
    for name in ("inner_width", "inner_height"):
        figure.js_on_change(name, callback)
    for name in ("start", "end"):
        figure.x_range.js_on_change(name, callback)
        figure.y_range.js_on_change(name, callback)
    texts.js_on_change("data", callback)


def _figure(element: hv.Dimensioned) -> Figure:
    # A document of its own: without one HoloViews takes the one that the event loop is busy with at the moment.
    # Only a renderer for servers heeds the one it is given.
    renderer = hv.renderer("bokeh").instance(mode="server")
    figure: Figure = renderer.get_plot(element, doc=Document()).state
    return figure


def _drawn(figure: Figure, glyph: type = Glyph) -> list[Any]:
    """The figure's renderers of one kind of glyph."""
    return [found for found in figure.renderers if isinstance(found, GlyphRenderer) and isinstance(found.glyph, glyph)]


def _equip(figure: Figure, points: Any) -> None:
    box, wheel = BoxSelectTool(renderers=[points]), WheelZoomTool()
    hover = HoverTool(renderers=[points], tooltips="@tooltip{safe}", attachment="horizontal", limit=1, visible=False)
    tap = TapTool(renderers=[points], visible=False)
    figure.toolbar.tools = [box, LassoSelectTool(renderers=[points]), PanTool(), wheel, ResetTool(), tap, hover]
    figure.toolbar.active_drag, figure.toolbar.active_scroll, figure.toolbar.active_tap = box, wheel, tap
    figure.toolbar.logo, figure.toolbar.autohide = None, True
    figure.sizing_mode = "stretch_both"
    figure.min_border = 4
    figure.output_backend = "canvas"
    figure.stylesheets.append(_PLAIN_FOCUS)


def plain(make: Callable[[], hv.Dimensioned]) -> Figure:
    """A figure of an element that needs no more than it has."""
    figure = _figure(make())
    figure.toolbar_location = None
    figure.sizing_mode, figure.output_backend, figure.min_border = "stretch_both", "canvas", 4
    figure.stylesheets.append(_PLAIN_FOCUS)
    return figure


def fill(figure: Figure) -> pn.pane.Bokeh:
    """The figure as a part of a page, as large as its place."""
    return pn.pane.Bokeh(figure, sizing_mode="stretch_both", margin=0, min_height=0)


def wide(figure: Figure) -> pn.pane.Bokeh:
    """The figure as a part of a page, as wide as its place and as tall as it says."""
    return pn.pane.Bokeh(figure, sizing_mode="stretch_width", margin=0)


def on_tap(figure: Figure, told: Callable[[dict[str, Any]], None]) -> None:
    """Call back with the row of data of the mark that the user taps."""
    marks = _drawn(figure, Rect)[0]
    tap = TapTool(renderers=[marks])
    figure.add_tools(tap)
    source = marks.data_source

    def tapped(name: str, old: list[int], new: list[int]) -> None:
        if new:
            told({column: values[new[0]] for column, values in source.data.items()})

    source.selected.on_change("indices", tapped)
