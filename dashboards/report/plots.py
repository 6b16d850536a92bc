"""The two plots of a report, as scripts and places for a page without a server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bokeh.embed import components
from bokeh.model import Model
from bokeh.models import BoxZoomTool, CustomJS, CustomJSTickFormatter
from bokeh.resources import Resources

from cc_ray import compare
from cc_ray.errors import NotComparableError
from dashboards import figures
from dashboards.overview import map_choice
from dashboards.overview.plots import DETAILED, Drawn, map_of, scatter_of
from dashboards.report.subject import Subject
from dashboards.theme import bokeh_theme

ROW_PX: Final = 13
"""Height of a row of the map."""
HEADS_PX: Final = 90
MAP_PX: Final = (260, 820)
"""Least and greatest height of the map."""
SCATTER_PX: Final = 430
SAID: Final = {
    "map": "Model Map: each dot is a model, right of the one that it was made from. The table below says the same.",
    "trade-offs": "Scatterplot of two metrics with the trade-off front: each dot is a model. Section Metrics has all.",
}
"""What plots are, for those who cannot see them."""
USE_STRICT: Final = "'use strict';\n"
"""What BokehJS puts before code that it compiles."""


@dataclass(frozen=True)
class Plots:
    """Places where plots are drawn, by name, and what draws them; no scatterplot where there are no two metrics."""

    places: Mapping[str, str]
    """HTML."""
    scripts: tuple[str, ...]
    """JavaScript, in order."""


def plots(subject: Subject) -> Plots:
    """The Model Map and the scatterplot with the selection marked, linked with each other."""
    wanted, encoding = _drawn(subject), subject.encoding
    named = {"map": map_of(wanted)}
    if encoding.x and encoding.y:
        named["trade-offs"] = scatter_of(wanted)
    figures.link(list(named.values()))
    for name, plot in named.items():
        ids = plot.source.data["model_id"]
        plot.source.selected.indices = [place for place, id in enumerate(ids) if id in set(subject.models)]
        _equip(name, plot)
    shown: dict[str, Model] = {name: plot.figure for name, plot in named.items()}
    script, places = components(shown, wrap_script=False, theme=bokeh_theme())
    range_: Any = named["map"].figure.y_range
    heights = {"map": min(MAP_PX[1], max(MAP_PX[0], HEADS_PX - ROW_PX * range_.start)), "trade-offs": SCATTER_PX}
    stages = {name: _stage(place, heights[name]) for name, place in places.items()}
    library = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
    return Plots(stages, (compiled(shown.values()), library, script))


def compiled(roots: Iterable[Model]) -> str:
    """JavaScript that holds the code of figures as functions.

    BokehJS compiles the code of callbacks and of tick labels when it needs it, which a page would have to allow of any
    text. This one allows it of none: whoever asks for the function of a text gets the one written here.
    """
    found: dict[str, str] = {}
    for model in {held for root in roots for held in root.references()}:
        if isinstance(model, CustomJS):
            arguments = [*model.args, "cb_obj", "cb_data", "cb_context"]
        elif isinstance(model, CustomJSTickFormatter):
            arguments = ["tick", "index", "ticks", *model.args]
        else:
            continue
        key = json.dumps([*arguments, USE_STRICT + model.code]).replace("</", "<\\/")
        found[key] = f"[{key}, function({', '.join(arguments)}) {{\n{USE_STRICT}{model.code}\n}}]"
    pairs = ", ".join(found.values())
    return (
        f"{{\nconst written = new Map([{pairs}].map(([key, made]) => [JSON.stringify(key), made]))\n"
        "window.Function = Function.prototype.constructor = new Proxy(Function, {\n"
        "  construct: (target, given) => written.get(JSON.stringify(given)) ?? Reflect.construct(target, given),\n"
        "})\n}"
    )


def _stage(place: str, height: float) -> str:
    """A plot in a frame."""
    # Printed is a picture of what was on the screen (report.js): plots do not fit themselves to paper.
    return f'<div class="stage" style="height:{height:.0f}px">{place}<img alt="" hidden></div>'


def _drawn(subject: Subject) -> Drawn:
    snapshot, state, encoding = subject.snapshot, subject.state, subject.encoding
    every = tuple(snapshot.models)
    on_map = map_choice.on_map(snapshot, state, encoding, every)
    if on_map is None and len(every) > DETAILED:
        on_map = frozenset((*subject.models, *_front(subject)))
    return Drawn(
        snapshot, encoding, state.arrange, state.log_x, state.log_y, None, state.groups, state.dim,
        map_choice.folded(snapshot, state), False, on_map,
    )  # fmt: skip


def _front(subject: Subject) -> list[str]:
    """Models on the front, where there is one."""
    metrics = [name for name in dict.fromkeys([subject.encoding.x, subject.encoding.y]) if name]
    try:
        found = compare.front(subject.snapshot.views, metrics).to_pylist()
    except NotComparableError:
        return []
    return [row["model_id"] for row in found if row["on_front"]]


def _equip(name: str, plot: figures.Plot) -> None:
    """A drag zooms; the wheel scrolls the page until it is chosen to zoom; `report.js` finds what it rings."""
    zoom, toolbar = BoxZoomTool(), plot.figure.toolbar
    toolbar.tools = [zoom, *toolbar.tools]
    toolbar.active_drag, toolbar.active_scroll = zoom, None
    plot.figure.html_attributes = {"role": "figure", "aria-label": SAID[name]}
    plot.source.name, plot.ring.name = f"models of {name}", f"ring of {name}"
    plot.ring.tags = list(plot.axes)
