"""The Model Map: the lineage from base models on the left to the last children on the right."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from bokeh.core.properties import value
from numpy.typing import NDArray

from cc_ray import compare
from cc_ray.compare.labels import Labels, title
from cc_ray.views import Views
from dashboards.drawing import hv
from dashboards.folds import NO_HANDLES, Folds
from dashboards.map_layout import Arrangement, MapLayout, Node, layout
from dashboards.marks import LOOK
from dashboards.marks import marks as marks_of
from dashboards.scales import UNCOLOURED
from dashboards.theme import ACCENT, FONT, INK_2, INK_3, LABEL_PX, LINE, MISSING, PALER, SEQUENTIAL, SURFACE, paler

NOWHERE: Final = (np.nan, np.nan)
PIECES: Final = 18
"""Straight pieces that an edge of the map is drawn from."""
EDGES: Final = dict(zip(("colour", "faded"), PALER, strict=True))
"""How much of the ground edges take in; opaque, because pieces overlap. "faded" is for when others are selected."""
NODE_PX: Final = (7.0, 22.0)
"""Diameters of the smallest and the largest node of the map."""
STRIP_PX: Final = 10.0
"""Diameter of the largest model of a folded sweep."""
MAP_PX: Final = 520.0
"""A narrow map: for how wide labels are in columns."""
CHARACTER_PX: Final = 5.2
"""Mean width of a character of a label."""
ROOM_ABOVE: Final = 0.04
"""Share of the map's height that the first row's labels, which stand above their nodes, need in a low window."""
ROOM_BELOW: Final = 0.02
"""The same of the last row's nodes."""
STRAIGHT_HEADERS: Final = 9
"""With more columns than this their headers are written aslant."""
SLANT: Final = 0.77
"""How far to the right a slanted header reaches, as a share of its length: the cosine of 40 degrees."""


def model_map(
    views: Views,
    *,
    arrange: Arrangement = "operation",
    colour: str = "",
    size: str = "",
    folded: Collection[str] = (),
    handles: bool = False,
    shown: Collection[str] | None = None,
) -> hv.Overlay:
    """The lineage, from base models on the left to the last children on the right.

    Args:
        views: Of the store.
        arrange: Whether a column stands for an operation or for a number of steps.
        colour: Metric shown as colour, from pale (low) to dark (high); "" for none.
        size: Metric shown as the node's area; "" for none.
        folded: Sweeps, as `compare.sweeps` names them, whose models stand side by side as one node.
        handles: Whether every sweep has a mark to fold and unfold it.
        shown: Models that stand on the map, with those they came from; None for all.

    Returns:
        Segments (edges, tapered from parent to child), Labels (the parameters that differ between models), Points
        (nodes, in the order of `compare.models`; what is not shown has no place), Points (marks of sweeps) and Segments
        (edges to teachers and donors).
    """
    models = compare.models(views)
    rows = {row["model_id"]: row for row in models.to_pylist()}
    labels = Labels(rows)
    folds = Folds.of(views, folded, visible(rows, shown))
    nodes = [
        Node(id, folds.stands_for.get(rows[id]["parent"] or ""), rows[id]["operation"], labels.parameters[id])
        for id in folds.members
    ]
    places = layout(nodes, arrange)
    marks = marks_of(models, colour, size, (NODE_PX[0], min(NODE_PX[1], max(9.0, 640 / max(places.num_rows, 1)))))
    at = folds.places(places)
    marks["column"] = [at.get(id, NOWHERE)[0] for id in marks["model_id"]]
    marks["row"] = [at.get(id, NOWHERE)[1] for id in marks["model_id"]]
    strip = np.array([folds.is_strip(id) for id in marks["model_id"]], bool)
    marks["size"] = np.where(strip, np.minimum(marks["size"], STRIP_PX), marks["size"])
    marks["rise"] = np.where(strip, -13, -6)
    marks["offset"] = np.where(strip, -14, marks["size"] / 2 + 2)
    parents = {node.id: node.parent for node in nodes}
    room = _label_room(places, parents)
    named = labels.step if arrange == "operation" else labels.brief
    marks["label"] = [folds.label(id, named) for id in marks["model_id"]]
    marks["room"] = [room.get(id, len(places.headers)) for id in marks["model_id"]]
    edges = _edges(marks, folds, parents, places)
    edges["tip"] = [folds.step_text(id, rows, labels) for id in edges.pop("id")]
    others = _other_edges(views, at)
    return _map_overlay(
        marks, edges, places, _headers(places), folds.handles(places) if handles else NO_HANDLES, others
    )


def visible(rows: Mapping[str, Mapping[str, Any]], shown: Collection[str] | None) -> list[str]:
    """The shown models and those they came from, in the order of the rows."""
    if shown is None:
        return list(rows)
    found: set[str] = set()
    for id in shown:
        at: str | None = id
        while at is not None and at in rows and at not in found:
            found.add(at)
            at = rows[at]["parent"]
    return [id for id in rows if id in found]


def _pieces(edges: int) -> int:
    """So many edges are drawn from so many pieces each: many are thin and short, and cost as much."""
    return PIECES if edges <= 400 else 5 if edges <= 2_000 else 1


def _edges(marks: pd.DataFrame, folds: Folds, parents: Mapping[str, str | None], places: MapLayout) -> pd.DataFrame:
    """Each edge as short lines along a Bezier curve, its width and colour passing from parent to child."""
    index = {id: place for place, id in enumerate(marks["model_id"])}
    pairs = [(parent, child) for child, parent in parents.items() if parent is not None and parent in places.columns]
    count = _pieces(len(pairs))
    t = np.linspace(0, 1, count + 1)
    half = (t[:-1] + t[1:]) / 2
    x0 = np.array([folds.exit(parent, places) for parent, _ in pairs], float)
    x1 = np.array([places.columns[child] for _, child in pairs], float)
    y0, y1 = (np.array([-places.rows[pair[end]] for pair in pairs], float) for end in (0, 1))
    start, end = (np.array([index[folds.middle(pair[which])] for pair in pairs], int) for which in (0, 1))
    xs = x0[:, None] + (x1 - x0)[:, None] * t
    ys = y0[:, None] + (y1 - y0)[:, None] * (3 * t**2 - 2 * t**3)
    radius = marks["size"].to_numpy() / 2
    width = 0.7 * (radius[start, None] * (1 - half) + radius[end, None] * half)
    paints = _blended(marks["colour"].tolist(), start[:, None], end[:, None], half)
    flat = {"x0": xs[:, :-1], "y0": ys[:, :-1], "x1": xs[:, 1:], "y1": ys[:, 1:], "width": width}
    flat |= {"child": np.repeat(end[:, None], count, axis=1), "alpha": np.ones_like(width)}
    colours = {name: np.array(paler(PAINTS, share))[paints.ravel()] for name, share in EDGES.items()}
    ids = [child for _, child in pairs for _ in range(count)]
    return pd.DataFrame({name: part.ravel() for name, part in flat.items()} | colours | {"id": ids})


PAINTS: Final = (*SEQUENTIAL, MISSING, UNCOLOURED)
"""Colours of nodes and of what lies between them."""


def _blended(
    colours: Sequence[str], start: NDArray[np.int_], end: NDArray[np.int_], half: NDArray[np.float64]
) -> NDArray[np.int_]:
    """Place in `PAINTS` of each piece: along the scale from one node to the other, else that of the nearer node.

    Args:
        colours: Of the nodes.
        start: Node where an edge begins, (edges, 1).
        end: Node where it ends, (edges, 1).
        half: How far along the edge the middle of each piece is, in [0, 1], (pieces,).
    """
    known = {colour: place for place, colour in enumerate(PAINTS)}
    at = np.array([known[colour] for colour in colours], int)
    scaled = (at[start] < len(SEQUENTIAL)) & (at[end] < len(SEQUENTIAL))
    between = np.rint(at[start] * (1 - half) + at[end] * half).astype(int)
    return np.where(scaled, between, np.where(half < 0.5, at[start], at[end]))


def _other_edges(views: Views, at: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """Straight lines to teachers and donors."""
    found = [
        (*at[row["parent"]], *at[row["child"]], f"{row['role']} of {title(row['operation'] or '')}")
        for row in compare.edges(views).to_pylist()
        if row["role"] != "parent" and row["parent"] in at and row["child"] in at
    ]
    columns = dict(zip(("x0", "y0", "x1", "y1", "tip"), zip(*found, strict=True), strict=True)) if found else {}
    return pd.DataFrame(columns or {name: np.zeros(0) for name in ("x0", "y0", "x1", "y1")} | {"tip": np.zeros(0, str)})


def _map_overlay(
    marks: pd.DataFrame,
    edges: pd.DataFrame,
    places: MapLayout,
    headers: list[str],
    handles: pd.DataFrame,
    others: pd.DataFrame,
) -> hv.Overlay:
    lines = hv.Segments(edges, ["x0", "y0", "x1", "y1"], ["colour", "faded", "width", "child", "alpha", "tip"])
    folds = hv.Points(handles, ["x", "y"], ["sweep", "sign", "tip"])
    roles = hv.Segments(others, ["x0", "y0", "x1", "y1"], ["tip"])
    nodes = hv.Points(marks, ["column", "row"], ["model_id", "colour", "size"])
    texts = hv.Labels(marks, ["column", "row"], ["label", "offset", "rise", "room"])
    return hv.Overlay(
        [
            lines.opts(color="colour", line_width="width", line_cap="round"),
            texts.opts(text_align="left", text_baseline="middle", text_color=INK_2, text_font_size=f"{LABEL_PX}px"),
            nodes.opts(color="colour", size="size", **LOOK),
            folds.opts(size=9, color=INK_3, line_color=SURFACE),
            roles.opts(color=ACCENT, line_dash="dashed", line_width=1.2, alpha=0.7),
        ]
    ).opts(
        xaxis="top",
        yaxis=None,
        xlabel="",
        xticks=list(enumerate(headers)),
        xrotation=40 if len(headers) > STRAIGHT_HEADERS else 0,
        xlim=(-0.45, _right_end(marks, headers)),
        ylim=_rows_seen(places.num_rows),
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


def _rows_seen(rows: int) -> tuple[float, float]:
    """Lower and upper end of the axis: a row is 1 apart from the next, the first lies at 0."""
    return 0.4 - rows - max(0.8, ROOM_BELOW * rows), max(0.8, ROOM_ABOVE * rows)


def _right_end(marks: pd.DataFrame, headers: list[str]) -> float:
    """How far to the right labels and slanted headers reach, in columns."""
    slanted = enumerate(headers if len(headers) > STRAIGHT_HEADERS else [])
    lengths = [
        (column, 20 + CHARACTER_PX * len(label))
        for column, label in zip(marks["column"], marks["label"], strict=True)
        if label
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
    edges, texts, _, folds, roles = (plot.subplots[key].handles for key in plot.subplots)
    for name in ("sweep", "sign", "tip"):
        folds["source"].data[name] = element.get(3).dimension_values(name)
    folds["glyph"].marker = {"field": "sign"}
    roles["source"].data["tip"] = element.get(4).dimension_values("tip")
    for name in ("faded", "child", "alpha", "tip"):
        edges["source"].data[name] = element.get(0).dimension_values(name)
    edges["glyph"].line_alpha = {"field": "alpha"}
    data, labels = texts["source"].data, element.get(1)
    for name in ("offset", "rise", "room"):
        data[name] = labels.dimension_values(name)
    data["full"] = list(labels.dimension_values("label"))
    texts["glyph"].x_offset, texts["glyph"].y_offset = {"field": "offset"}, {"field": "rise"}
    texts["glyph"].text_font = value(FONT)
    texts["glyph"].background_fill_color, texts["glyph"].background_fill_alpha = SURFACE, 0.7
