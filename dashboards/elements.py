"""HoloViews elements of CC-Ray, for notebooks and for the pages.

Each function takes what `cc_ray.compare` answers and gives an element that is complete by itself: titles, units,
colours and the hover text are set, sizes are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import holoviews as hv
import numpy as np
import pandas as pd
import pyarrow as pa
from bokeh.core.properties import value
from bokeh.models import HoverTool
from holoviews.plotting import bokeh as _backend  # noqa: F401 (registers the Bokeh backend)

from cc_ray import compare
from cc_ray.compare import weight_distribution
from cc_ray.compare.labels import Labels, letter, points_text, title
from cc_ray.views import Views
from dashboards.axes import axis_title, tick_formatter, ticker
from dashboards.map_layout import Arrangement, MapLayout, Node, layout
from dashboards.scales import UNCOLOURED, colour_scale, column, constant, sizes
from dashboards.theme import ACCENT, DIVERGING, FONT, INK, INK_2, INK_3, LABEL_PX, LINE, MISSING, SERIES, SURFACE, mix

hv.Store.set_current_backend("bokeh")

SIGNIFICANT: Final = 0.05
"""Changes with a smaller p, corrected over the classes, are marked."""
CLASSES_WITH_TEXT: Final = 24
"""With more classes than this the cells have no room for numbers."""
PIECES: Final = 18
"""Straight pieces that an edge of the map is drawn from."""
PALER: Final = {"colour": 0.55, "faded": 0.86}
"""How much white edges take in; opaque, because pieces overlap. "faded" is for when other things are selected."""
NODE_PX: Final = (7.0, 22.0)
"""Diameters of the smallest and the largest node of the map."""
MAP_PX: Final = 520.0
"""A narrow map: for how wide labels are in columns."""
CHARACTER_PX: Final = 5.2
"""Mean width of a character of a label."""
STRAIGHT_HEADERS: Final = 9
"""With more columns than this their headers are written aslant."""
SLANT: Final = 0.77
"""How far to the right a slanted header reaches, as a share of its length: the cosine of 40 degrees."""
POINT_PX: Final = (7.0, 17.0)
"""Diameters of the smallest and the largest point of the scatterplot."""

_MARK: Final = {
    "line_color": INK,
    "line_alpha": 0.35,
    "line_width": 1,
    "selection_line_alpha": 1,
    "selection_line_color": ACCENT,
    "selection_line_width": 3,
    "nonselection_alpha": 0.3,
}


def model_map(views: Views, *, arrange: Arrangement = "operation", colour: str = "", size: str = "") -> hv.Overlay:
    """The lineage, from base models on the left to the last children on the right.

    Args:
        views: Of the store.
        arrange: Whether a column stands for an operation or for a number of steps.
        colour: Metric shown as colour, from pale (low) to dark (high); "" for none.
        size: Metric shown as the node's area; "" for none.

    Returns:
        Segments (edges, tapered from parent to child), Labels (the parameters that differ between models) and Points
        (nodes, in the order of `compare.models`).
    """
    models = compare.models(views)
    rows = {row["model_id"]: row for row in models.to_pylist()}
    labels = Labels(rows)
    nodes = [Node(id, row["parent"], row["operation"], labels.parameters[id]) for id, row in rows.items()]
    places = layout(nodes, arrange)
    marks = _marks(models, colour, size, (NODE_PX[0], min(NODE_PX[1], max(9.0, 640 / max(places.num_rows, 1)))))
    marks["column"] = [places.columns[id] for id in marks["model_id"]]
    marks["row"] = [-places.rows[id] for id in marks["model_id"]]
    parents = {id: row["parent"] for id, row in rows.items()}
    room = _label_room(places, parents)
    named = labels.step if arrange == "operation" else labels.brief
    marks["label"] = [named(id) for id in marks["model_id"]]
    marks["room"] = [room.get(id, len(places.headers)) for id in marks["model_id"]]
    edges = _edges(marks, parents)
    return _map_overlay(marks, edges, places, _headers(places))


def trade_off(
    views: Views, x: str, y: str, colour: str = "", *, size: str = "", log_x: bool = False, log_y: bool = False
) -> hv.Overlay:
    """Any two metrics against each other, with the front of models that no other one beats in both.

    Args:
        views: Of the store.
        x: Metric on the x axis.
        y: Metric on the y axis.
        colour: Metric shown as colour, from pale (low) to dark (high); "" for none.
        size: Metric shown as area; "" for none.
        log_x: Logarithmic x axis.
        log_y: Logarithmic y axis.

    Returns:
        Curve (the front, a staircase drawn out to the worst values), Segments (95 % intervals of the front's models)
        and Points (in the order of `compare.models`). Metrics of which neither direction is better have no front: its
        parts are empty.
    """
    models = compare.models(views)
    metrics = {row["metric"]: row for row in compare.metric_definitions(views).to_pylist()}
    marks = _marks(models, colour, size, POINT_PX)
    marks["x"], marks["y"] = column(models[x].to_pylist()), column(models[y].to_pylist())
    directions = metrics[x]["direction"], metrics[y]["direction"]
    front = _front(views, x, y) if "none" not in directions and x != y else pd.DataFrame({"x": [], "y": []})
    line = hv.Curve(_staircase(front, marks, directions), "x", "y")
    bars = hv.Segments(_whiskers(front), ["x0", "y0", "x1", "y1"])
    points = hv.Points(marks, ["x", "y"], ["model_id", "colour", "size"])
    return hv.Overlay(
        [
            line.opts(color=INK_2, line_width=2, line_dash=[5, 3], interpolation=_interpolation(directions)),
            bars.opts(color=INK_2, line_width=1),
            points.opts(color="colour", size="size", **_MARK),
        ]
    ).opts(
        xlabel=axis_title(metrics[x]["label"], metrics[x]["format"]),
        ylabel=axis_title(metrics[y]["label"], metrics[y]["format"]),
        logx=log_x,
        logy=log_y,
        padding=0.08,
        show_grid=True,
        responsive=True,
        show_legend=False,
        hooks=[_axes(tick_formatter(metrics[x]["format"]), tick_formatter(metrics[y]["format"]), log_x, log_y)],
    )


def per_class(classes: pa.Table, *, names: Mapping[str, str] | None = None) -> hv.Overlay:
    """The change of accuracy against the base, class by class.

    Args:
        classes: As `compare.behaviours_by_class` gives them, or a `Comparison`'s `classes`.
        names: What models are called, by model_id; without it their recipes.

    Returns:
        HeatMap (class across, model down; brown worse, green better) and Labels (percentage points; a star where the
        Holm-corrected p is below 0.05).
    """
    table = classes.to_pandas()
    letters = {id: letter(place) for place, id in enumerate(table["model_id"].unique())}
    table["model"] = table["model_id"].map(letters)
    table["recipe"] = table["model_id"].map(names) if names else table["name"]
    table["points"] = 100 * table["difference"]
    table["text"] = [
        f"{points_text(points)}{'*' if p < SIGNIFICANT else ''}"
        for points, p in zip(table["points"], table["holm_p"], strict=True)
    ]
    limit = max(float(table["points"].abs().max()), 1.0)
    table["ink"] = np.where(table["points"].abs() > 0.6 * limit, SURFACE, INK)
    # HeatMap lays columns out as matrices, which pandas' Arrow-backed texts refuse.
    table = table.astype(dict.fromkeys(table.select_dtypes(include="str"), object))
    shown = ["points", "recipe", "label", "accuracy", "base_accuracy", "holm_p", "lost", "gained"]
    cells = hv.HeatMap(table, ["label_name", "model"], shown)
    texts = hv.Labels(table, ["label_name", "model"], ["text", "ink"])
    crowded = table["label_name"].nunique() > CLASSES_WITH_TEXT
    return hv.Overlay(
        [
            cells.opts(cmap=DIVERGING, clim=(-limit, limit), line_color=SURFACE, line_width=2, tools=[_class_hover()]),
            texts.opts(text_color="ink", text_font_size=f"{LABEL_PX}px", text_alpha=0 if crowded else 1),
        ]
    ).opts(xlabel="True class", ylabel="", invert_yaxis=True, responsive=True, xaxis="top", show_legend=False)


def weight_histogram(views: Views, names: Mapping[str, str], path: str = "") -> hv.Overlay:
    """How the non-zero weights of models are distributed.

    Args:
        views: Of the store.
        names: What models are called in the legend, by model_id; the first, the base, is drawn in grey.
        path: Module whose weights are meant, with all below it; "" for the whole model.

    Returns:
        Area (the base) and a Curve per model: share of non-zero weights per bin.
    """
    table = weight_distribution(views, names, path).to_pandas()
    table["weight"] = (table["low"] + table["high"]) / 2
    parts: list[hv.Element] = []
    for place, (id, name) in enumerate(names.items()):
        own = table[table["model_id"] == id]
        if place == 0:
            base = hv.Area(own, "weight", "share", label=name)
            parts.append(base.opts(color=MISSING, alpha=0.55, line_color=INK_3, line_width=1))
        else:
            curve = hv.Curve(own, "weight", "share", label=name)
            parts.append(curve.opts(color=SERIES[(place - 1) % len(SERIES)], line_width=1.8))
    return hv.Overlay(parts).opts(
        xlabel="Weight",
        ylabel="Share of non-zero weights",
        responsive=True,
        show_grid=True,
        legend_position="top",
        legend_cols=1,
        hooks=[_histogram_look],
    )


def _histogram_look(plot: Any, element: object) -> None:
    figure = plot.state
    figure.yaxis.formatter = tick_formatter("percent")
    figure.xaxis.formatter = tick_formatter("number")
    figure.y_range.start = 0
    for legend in figure.legend:
        legend.border_line_color, legend.background_fill_alpha = None, 0
        legend.label_text_font_size, legend.padding, legend.spacing = "11px", 0, 0


def _class_hover() -> HoverTool:
    rows = [
        ("Model", "@recipe"),
        ("Class", "@label_name"),
        ("Accuracy", "@accuracy{0.0 %} (base @base_accuracy{0.0 %})"),
        ("Change", "@points{+0.0} points"),
        ("Lost, gained", "@lost{0,0}, @gained{0,0}"),
        ("p (Holm)", "@holm_p{0.000}"),
    ]
    return HoverTool(tooltips=rows)


def _marks(models: pa.Table, colour: str, size: str, extent: tuple[float, float]) -> pd.DataFrame:
    count = len(models)
    marks = pd.DataFrame({"model_id": models["model_id"].to_pylist()})
    values = column(models[colour].to_pylist()) if colour else np.full(count, np.nan)
    marks["colour"] = colour_scale(values)(values) if colour else constant(UNCOLOURED, count)
    measured = column(models[size].to_pylist()) if size else np.full(count, np.nan)
    marks["size"] = sizes(measured, *extent)
    return marks


def _edges(marks: pd.DataFrame, parents: Mapping[str, str | None]) -> pd.DataFrame:
    """Each edge as `PIECES` short lines along a Bezier curve, its width and colour passing from parent to child."""
    index = {id: place for place, id in enumerate(marks["model_id"])}
    pairs = [(index[parent], index[child]) for child, parent in parents.items() if parent in index]
    start, end = (np.array([pair[which] for pair in pairs], int) for which in (0, 1))
    t = np.linspace(0, 1, PIECES + 1)
    x, y = marks["column"].to_numpy(float), marks["row"].to_numpy(float)
    bent = 3 * t**2 - 2 * t**3
    xs = x[start, None] + (x[end] - x[start])[:, None] * t
    ys = y[start, None] + (y[end] - y[start])[:, None] * bent
    half = (t[:-1] + t[1:]) / 2
    radius = marks["size"].to_numpy() / 2
    width = 0.7 * (radius[start, None] * (1 - half) + radius[end, None] * half)
    blended = [mix(marks["colour"][a], marks["colour"][b], float(share)) for a, b in pairs for share in half]
    colours = {name: [mix(colour, SURFACE, share) for colour in blended] for name, share in PALER.items()}
    flat = {"x0": xs[:, :-1], "y0": ys[:, :-1], "x1": xs[:, 1:], "y1": ys[:, 1:], "width": width}
    return pd.DataFrame({name: part.ravel() for name, part in flat.items()} | colours)


def _map_overlay(marks: pd.DataFrame, edges: pd.DataFrame, places: MapLayout, headers: list[str]) -> hv.Overlay:
    lines = hv.Segments(edges, ["x0", "y0", "x1", "y1"], ["colour", "faded", "width"])
    nodes = hv.Points(marks, ["column", "row"], ["model_id", "colour", "size"])
    texts = hv.Labels(marks, ["column", "row"], ["label", "size", "room"])
    return hv.Overlay(
        [
            lines.opts(color="colour", line_width="width", line_cap="round"),
            texts.opts(text_align="left", text_baseline="middle", text_color=INK_2, text_font_size=f"{LABEL_PX}px"),
            nodes.opts(color="colour", size="size", **_MARK),
        ]
    ).opts(
        xaxis="top",
        yaxis=None,
        xlabel="",
        xticks=list(enumerate(headers)),
        xrotation=40 if len(headers) > STRAIGHT_HEADERS else 0,
        xlim=(-0.45, _right_end(marks, headers)),
        ylim=(0.8 - places.num_rows - 0.6, 0.8),
        gridstyle={"xgrid_line_color": LINE, "ygrid_line_color": None},
        show_grid=True,
        responsive=True,
        show_legend=False,
        hooks=[_map_look],
    )


def _label_room(places: MapLayout, parents: Mapping[str, str | None]) -> dict[str, int]:
    """Columns that a label has until the next model on its row, where there is one."""
    return {
        parent: places.columns[child] - places.columns[parent]
        for child, parent in parents.items()
        if parent in places.rows and places.rows[parent] == places.rows[child]
    }


def _right_end(marks: pd.DataFrame, headers: list[str]) -> float:
    """How far to the right labels and slanted headers reach, in columns."""
    slanted = enumerate(headers if len(headers) > STRAIGHT_HEADERS else [])
    lengths = [
        (column, 20 + CHARACTER_PX * len(label)) for column, label in zip(marks["column"], marks["label"], strict=True)
    ]
    lengths += [(column, 12 + CHARACTER_PX * len(header) * SLANT) for column, header in slanted]
    return max((column + length * len(headers) / MAP_PX for column, length in lengths), default=1.0)


def _headers(places: MapLayout) -> list[str]:
    """What each column holds, an operation's name broken over two lines."""
    if not any(places.headers):
        return ["Base", *(f"Step {number}" for number in range(1, len(places.headers)))]
    broken = "\n" if len(places.headers) <= STRAIGHT_HEADERS else " "
    return ["Base" if name is None else title(name).replace(" ", broken, 1) for name in places.headers]


def _map_look(plot: Any, element: hv.Overlay) -> None:
    figure = plot.state
    figure.xaxis.axis_line_color = None
    figure.xgrid.ticker = figure.xaxis[0].ticker
    edges, texts, _ = (plot.subplots[key].handles for key in plot.subplots)
    edges["source"].data["faded"] = element.get(0).dimension_values("faded")
    data, labels = texts["source"].data, element.get(1)
    data["offset"] = labels.dimension_values("size") / 2 + 2
    data["room"], data["full"] = labels.dimension_values("room"), list(labels.dimension_values("label"))
    texts["glyph"].x_offset, texts["glyph"].y_offset = {"field": "offset"}, -6
    texts["glyph"].text_font = value(FONT)
    texts["glyph"].background_fill_color, texts["glyph"].background_fill_alpha = SURFACE, 0.7


def _front(views: Views, x: str, y: str) -> pd.DataFrame:
    table = compare.front(views, [x, y]).to_pandas()
    front = table[table["on_front"]].sort_values([x, y])
    names = {f"{name}{end}": f"{axis}{end}" for axis, name in (("x", x), ("y", y)) for end in ("", "_low", "_high")}
    renamed: pd.DataFrame = front.rename(columns=names)
    return renamed


def _staircase(front: pd.DataFrame, marks: pd.DataFrame, directions: tuple[str, str]) -> pd.DataFrame:
    """The front, drawn out at both ends as far as there are models: all that it beats lies on one side."""
    corners = front[["x", "y"]]
    if front.empty:
        return corners
    worst = {
        axis: marks[axis].max() if best == "lower" else marks[axis].min()
        for axis, best in zip("xy", directions, strict=True)
    }
    stay, leave = ("x", "y") if directions[0] == "lower" else ("y", "x")
    ends = corners.iloc[[0]].assign(**{leave: worst[leave]}), corners.iloc[[-1]].assign(**{stay: worst[stay]})
    return pd.concat([ends[0], corners, ends[1]])


def _interpolation(directions: tuple[str, str]) -> str:
    """Where to turn: as far as a model on the front is still the best that one can have."""
    return "steps-post" if directions[0] == "lower" else "steps-pre"


def _whiskers(front: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for axis, other in (("x", "y"), ("y", "x")):
        if f"{axis}_low" in front:
            known = front.dropna(subset=[f"{axis}_low", f"{axis}_high"])
            ends = {f"{axis}0": known[f"{axis}_low"], f"{axis}1": known[f"{axis}_high"]}
            parts.append(pd.DataFrame(ends | {f"{other}0": known[other], f"{other}1": known[other]}))
    return pd.concat([pd.DataFrame({"x0": [], "y0": [], "x1": [], "y1": []}, dtype=float), *parts])


def _axes(x: Any, y: Any, log_x: bool, log_y: bool) -> Any:
    def set_axes(plot: Any, element: object) -> None:
        figure = plot.state
        figure.xaxis.formatter, figure.yaxis.formatter = x, y
        figure.xaxis.ticker, figure.yaxis.ticker = ticker(log_x), ticker(log_y)
        figure.xgrid.ticker, figure.ygrid.ticker = figure.xaxis[0].ticker, figure.yaxis[0].ticker

    return set_axes
