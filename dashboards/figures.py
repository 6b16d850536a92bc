"""From HoloViews elements to live Bokeh figures: tools, selection, hover, and new data without a new figure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import panel as pn
from bokeh.document import Document
from bokeh.models import (
    BooleanFilter,
    BoxSelectTool,
    CDSView,
    ColumnDataSource,
    CustomJS,
    HoverTool,
    InversionFilter,
    LassoSelectTool,
    PanTool,
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

from dashboards.drawing import hv
from dashboards.marks import BESIDE
from dashboards.theme import ACCENT, FONT, INK_3, LABEL_PX, MISSING

RING_PX: Final = 7
"""How much wider than its point the ring of hovering is."""
LAST_TICK_PX: Final = 20
"""Beside a plot, for the half of its last tick's label that reaches over its end."""
_AXIS: Final = ("axis_label", "formatter", "ticker", "major_label_overrides", "major_label_orientation")
_FOCUS: Final = (
    ".bk-Canvas { --outline-width: var(--ring); --outline-style: solid; --highlight-color: var(--accent-2) }"
)
"""A ring around what is in focus by the keyboard, and none by the pointer."""

POINTING: Final = "pointing"
"""Name of the callback that rings a model in all linked plots; `assets/html.js` calls it with a model_id."""
_RING: Final = """
const { index, model } = cb_data
const i = index ? index.indices[0] : places[0][0].data.model_id.indexOf(model)
for (const [source, ring, x, y] of places) {
  const at = (name) => i in source.data.model_id ? [source.data[name][i]] : []
  const data = { x: at(x), y: at(y), size: at("size").map((size) => size + reach) }
  // The pointer moves often, and Python need not know.
  if (data.x[0] !== ring.data.x[0] || data.y[0] !== ring.data.y[0]) ring.setv({ data }, { sync: false })
}
"""

_FADE: Final = """
for (const { glyph, data_source } of edges) {
  glyph.line_color = { field: selected.indices.length ? "faded" : "color" }
  const { child, alpha } = data_source.data
  let changed = false
  for (let i = 0; i < child.length; i++) {
    const seen = !passing.booleans || passing.booleans[child[i]] ? 1 : 0.15
    changed ||= alpha[i] !== seen
    alpha[i] = seen
  }
  if (changed) data_source.change.emit()
}
"""

_FIT: Final = """
const { x_range, y_range, inner_width, inner_height } = figure
const { full, label, room, column, row, offset } = texts.data
const across = inner_width / (x_range.end - x_range.start)
const down = inner_height / (y_range.end - y_range.start)
const pen = document.createElement("canvas").getContext("2d")
pen.font = font
let changed = false
const drawn = new Array(full.length).fill(false)
for (let i = 0; i < full.length && down >= 9; i++) {
  const seen = (!passing.booleans || passing.booleans[i]) && column[i] >= x_range.start - 1
    && column[i] <= x_range.end && row[i] >= y_range.start && row[i] <= y_range.end
  if (!seen || !full[i]) continue
  const columns = Math.min(room[i], x_range.end - column[i])
  const words = full[i].split(" ")
  const width = columns * across - offset[i] - 6
  const fits = (text) => pen.measureText(text).width <= width
  while (words.length > 1 && !fits(words.join(" "))) words.pop()
  let text = words.join(" ")
  // Names can be guessed from their beginning, numbers cannot.
  const shortest = /\\d/.test(text) ? text.length : 3
  for (let kept = text.length - 1; kept >= shortest && !fits(text); kept--) text = `${text.slice(0, kept)}…`
  changed ||= text !== label[i]
  label[i] = text
  drawn[i] = true
}
// Bokeh makes and paints a label of each row that it is given, however empty.
if (drawn.some((one, i) => one !== named.booleans[i])) named.setv({ booleans: drawn }, { sync: false })
else if (changed) texts.change.emit()
"""


@dataclass(frozen=True)
class Plot:
    """A figure whose points stand for models."""

    figure: Figure
    points: Any
    """The `GlyphRenderer` of the points."""
    ring: ColumnDataSource
    handles: Any
    """The `GlyphRenderer` of marks to fold and unfold sweeps; None without any."""
    passing: BooleanFilter
    """Which models can be picked; the others stand faded behind them."""

    @property
    def source(self) -> Any:
        """The points, one row a model: a `ColumnDataSource`."""
        return self.points.data_source

    @property
    def axes(self) -> tuple[str, str]:
        """The columns of the points that say where they are."""
        x, y = ((at if isinstance(at, str) else at.field) for at in (self.points.glyph.x, self.points.glyph.y))
        return x, y

    @property
    def place(self) -> list[Any]:
        """What the hover ring needs to know of this plot."""
        return [self.source, self.ring, *self.axes]


def render(element: hv.Dimensioned, columns: Mapping[str, Sequence[Any]], said: str = "") -> Plot:
    """Make a figure of an element that has points for models.

    Args:
        element: An overlay with one Points element, beside those whose renderers are called `BESIDE`.
        columns: Further columns of the points: "model_id" and "tooltip" (HTML).
        said: What it is, for those who cannot see it.
    """
    figure = _figure(element, said)
    points = next(one for one in _drawn(figure, Scatter) if one.name != BESIDE)
    data = points.data_source.data
    data.update(columns)
    data.setdefault("size", [points.glyph.size] * len(data["model_id"]))
    passing = BooleanFilter()
    points.view = CDSView(filter=passing)
    _fade_others(figure, points, passing)
    for texts in _drawn(figure, Text):
        _fit_labels(figure, texts, passing)
    ring = ColumnDataSource({"x": [], "y": [], "size": []})
    look: dict[str, Any] = {"fill_color": None, "line_color": ACCENT, "line_width": 2, "level": "overlay"}
    figure.scatter("x", "y", size="size", source=ring, **look)
    handles = next((found for found in _drawn(figure, Scatter) if "sweep" in found.data_source.data), None)
    for found in _drawn(figure):
        _slim(found, selects=found is points)
    _equip(figure, points, handles)
    return Plot(figure, points, ring, handles, passing)


def _slim(renderer: Any, *, selects: bool) -> None:
    """Leave out glyphs that are never seen: every one is made anew for each tab, there and here."""
    renderer.hover_glyph = renderer.muted_glyph = None
    if not selects:
        renderer.selection_glyph = renderer.nonselection_glyph = None


def link(plots: Sequence[Plot]) -> None:
    """Select and hover in one plot, see it in all of them; answered by the browser alone.

    All have one selection between them, so that a change of it is told once, whichever plot it was made in.
    """
    pointing = CustomJS(args={"places": [plot.place for plot in plots], "reach": RING_PX}, code=_RING, name=POINTING)
    selected = plots[0].source.selected
    for plot in plots[1:]:
        # Bokeh lets nobody replace it: the browser would not follow. It does not know these sources yet.
        plot.source.set_from_json("selected", selected)
    for plot in plots:
        hover = next(tool for tool in plot.figure.tools if isinstance(tool, HoverTool))
        hover.callback = pointing
        edges = [found for found in _drawn(plot.figure, Segment) if "faded" in found.data_source.data]
        if edges:
            fade = CustomJS(args={"edges": edges, "selected": selected, "passing": plot.passing}, code=_FADE)
            plot.passing.js_on_change("booleans", fade)
            selected.js_on_change("indices", fade)
            plot.source.js_on_change("data", fade)
            plot.figure.js_on_change("inner_width", fade)


def renew(old: Plot, new: Plot, *, keep_view: bool) -> None:
    """Give a figure that is on the screen the data, axes and, unless kept, the view of a new one."""
    filled: list[Any] = []
    for shown, fresh in zip(_drawn(old.figure), _drawn(new.figure), strict=True):
        for part in ("glyph", "selection_glyph", "nonselection_glyph"):
            given = getattr(fresh, part)
            if isinstance(given, Glyph):
                getattr(shown, part).update(**given.properties_with_values(include_defaults=False))
        if shown.data_source not in filled:
            filled.append(shown.data_source)
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


def renew_first(plot: Plot, columns: Sequence[Mapping[str, Any]]) -> None:
    """Give the first parts of a figure that is on the screen new data."""
    for shown, data in zip(_drawn(plot.figure), columns, strict=False):
        shown.data_source.data = dict(data)


def let_pass(plot: Plot, model_ids: Collection[str] | None) -> None:
    """Fade all models but these, which alone can be picked; None fades none."""
    ids = plot.source.data["model_id"]
    plot.passing.booleans = None if model_ids is None else [id in model_ids for id in ids]


def on_selection(plot: Plot, told: Callable[[list[int]], None]) -> None:
    """Call back with the indices of the selected points whenever the user selects."""
    plot.source.selected.on_change("indices", lambda name, old, new: told(list(new)))


def _fade_others(figure: Figure, points: Any, passing: BooleanFilter) -> None:
    glyph = points.glyph
    look: dict[str, Any] = {"fill_color": MISSING, "line_color": None, "level": "underlay"}
    look |= {"fill_alpha": 0.3, "nonselection_fill_alpha": 0.3}
    view = CDSView(filter=InversionFilter(operand=passing))
    figure.scatter(glyph.x, glyph.y, size=glyph.size, source=points.data_source, view=view, **look)


def _fit_labels(figure: Figure, labels: Any, passing: BooleanFilter) -> None:
    """Keep as many words of each label as there is room for at the present size and zoom; none of faded models."""
    texts, named = labels.data_source, BooleanFilter(booleans=[], name="labels")
    labels.view = CDSView(filter=named)
    args = {"figure": figure, "texts": texts, "named": named, "passing": passing, "font": f"{LABEL_PX}px {FONT}"}
    callback = CustomJS(args=args, code=_FIT)
    passing.js_on_change("booleans", callback)
    for name in ("inner_width", "inner_height"):
        figure.js_on_change(name, callback)
    for name in ("start", "end"):
        figure.x_range.js_on_change(name, callback)
        figure.y_range.js_on_change(name, callback)
    texts.js_on_change("data", callback)


def _figure(element: hv.Dimensioned, said: str = "") -> Figure:
    # A document of its own: without one HoloViews takes the one that the event loop is busy with at the moment.
    # Only a renderer for servers heeds the one it is given.
    renderer = hv.renderer("bokeh").instance(mode="server")
    figure: Figure = renderer.get_plot(element, doc=Document()).state
    figure.html_attributes = {"role": "figure", "aria-label": said} if said else {}
    return figure


def _drawn(figure: Figure, glyph: type = Glyph) -> list[Any]:
    """The figure's renderers of one kind of glyph."""
    return [found for found in figure.renderers if isinstance(found, GlyphRenderer) and isinstance(found.glyph, glyph)]


def on_handle(plot: Plot, told: Callable[[str], None]) -> None:
    """Call back with the sweep whose mark the user taps."""
    source = plot.handles.data_source

    def tapped(name: str, old: list[int], new: list[int]) -> None:
        if new:
            source.selected.indices = []
            told(str(source.data["sweep"][new[0]]))

    source.selected.on_change("indices", tapped)


def _equip(figure: Figure, points: Any, handles: Any) -> None:
    box, lasso, wheel = BoxSelectTool(renderers=[points]), LassoSelectTool(renderers=[points]), WheelZoomTool()
    for tool in (box, lasso):
        tool.overlay.update(fill_color=ACCENT, fill_alpha=0.1, line_color=INK_3, line_alpha=1)
    hover = HoverTool(renderers=[points], tooltips="@tooltip{safe}", attachment="horizontal", limit=1, visible=False)
    tap = TapTool(renderers=[points], visible=False)
    figure.toolbar.tools = [box, lasso, PanTool(), wheel, ResetTool(), tap, hover]
    tips = [found for found in _drawn(figure) if "tip" in found.data_source.data]
    if tips:
        figure.add_tools(HoverTool(renderers=tips, tooltips="@tip", visible=False, limit=1))
    if handles is not None:
        # One tool alone answers taps at a time. Handles come first: whoever is told of one knows that the selection,
        # which the same tap clears, is to stay.
        tap.renderers = [handles, points]
        handles.nonselection_glyph = None
    figure.toolbar.active_drag, figure.toolbar.active_scroll, figure.toolbar.active_tap = box, wheel, tap
    figure.toolbar.logo, figure.toolbar.autohide = None, True
    figure.sizing_mode = "stretch_both"
    figure.min_border = 4
    figure.output_backend = "canvas"
    figure.stylesheets.append(_FOCUS)


def plain(make: Callable[[], hv.Dimensioned], said: str = "") -> Figure:
    """A figure of an element that needs no more than it has; `said` is for those who cannot see it."""
    figure = _figure(make(), said)
    figure.toolbar_location = None
    figure.sizing_mode, figure.output_backend, figure.min_border = "stretch_both", "canvas", 4
    figure.min_border_right = LAST_TICK_PX
    figure.stylesheets.append(_FOCUS)
    return figure


def fill(figure: Figure) -> pn.pane.Bokeh:
    """The figure as a part of a page, as large as its place."""
    return pn.pane.Bokeh(figure, sizing_mode="stretch_both", margin=0, min_height=0)


def wide(figure: Figure) -> pn.pane.Bokeh:
    """The figure as a part of a page, as wide as its place and as tall as it says."""
    return pn.pane.Bokeh(figure, sizing_mode="stretch_width", margin=0)
