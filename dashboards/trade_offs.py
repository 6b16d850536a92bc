"""Any two metrics against each other, with the models that are the best compromises."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from bokeh.models import Line, Scatter

from cc_ray import compare
from cc_ray.compare import NO_OPERATION
from cc_ray.views import Views
from cc_ray.wording import label_with_unit
from dashboards.axes import axis_title, tick_formatter, ticker
from dashboards.drawing import hv
from dashboards.marks import BESIDE, LOOK
from dashboards.marks import marks as marks_of
from dashboards.scales import column
from dashboards.theme import INK, INK_2, INK_3, SERIES, SURFACE

ENDS: Final = ["x0", "y0", "x1", "y1"]
NO_PIECES: Final = pd.DataFrame({name: np.zeros(0) for name in ENDS} | {"colour": np.zeros(0, str)})
NO_FRONT: Final = pd.DataFrame({"x": [], "y": [], "model_id": []})
POINT_PX: Final = (7.0, 17.0)
"""Diameters of the smallest and the largest point of the scatterplot."""
LEAST_PX: Final = (4.0, 8.0)
"""The same where there are very many."""
CROWDED: Final = 400
"""With more models than this, points hide each other: they are smaller, and the front is drawn over them."""
DOT_PX: Final = 4.0
"""Diameter of the dots on the front's models."""
EDGE_PX: Final = 6.0
"""Width of the edge that the front's line, of 2 px, lies on."""


def trade_off(
    views: Views,
    x: str,
    y: str,
    colour: str = "",
    *,
    size: str = "",
    log_x: bool = False,
    log_y: bool = False,
    ids: Sequence[str] | None = None,
    groups: str = "",
    dim: bool = False,
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
        ids: Models that the front is of; None for all.
        groups: What has a front of its own beside that of all: operation, base or study; "" for nothing.
        dim: Dim the models that another one beats.

    Returns:
        Segments (a thin front a group), Curve (the front, a staircase drawn out to the worst values), Segments (95 %
        intervals of the front's models), Points (a dot on each of these) and Points (all models, in the order of
        `compare.models`). Metrics of which neither direction is better have no front: its parts are empty.
    """
    models = compare.models(views)
    metrics = {row["metric"]: row for row in compare.metric_definitions(views).to_pylist()}
    marks = marks_of(models, colour, size, _extent(len(models)))
    marks["x"], marks["y"] = column(models[x].to_pylist()), column(models[y].to_pylist())
    best = set(_front(views, x, y, ids)["model_id"]) if dim and judged(views, x, y) else set(marks["model_id"])
    marks["alpha"] = [1.0 if id in best else 0.18 for id in marks["model_id"]]
    points = hv.Points(marks, ["x", "y"], ["model_id", "colour", "size", "alpha"])
    return hv.Overlay(
        [
            *front_parts(views, x, y, ids=ids, groups=groups),
            points.opts(color="colour", size="size", fill_alpha="alpha", **LOOK),
        ]
    ).opts(
        xlabel=_titled(metrics[x]),
        ylabel=_titled(metrics[y]),
        logx=log_x,
        logy=log_y,
        padding=0.08,
        show_grid=True,
        responsive=True,
        show_legend=False,
        hooks=[
            _axes(tick_formatter(metrics[x]["format"]), tick_formatter(metrics[y]["format"]), log_x, log_y),
            partial(_raise_front, crowded=len(models) > CROWDED),
        ],
    )


def _titled(metric: dict[str, Any]) -> str:
    label = label_with_unit(metric["label"], metric["unit"], metric["format"])
    return axis_title(label, metric["format"])


def _extent(count: int) -> tuple[float, float]:
    """Diameters of the smallest and the largest of so many points."""
    share = min(1.0, (CROWDED / max(count, 1)) ** 0.5)
    return max(LEAST_PX[0], share * POINT_PX[0]), max(LEAST_PX[1], share * POINT_PX[1])


def _raise_front(plot: Any, element: object, *, crowded: bool) -> None:
    """Put the dots over the points; where these hide each other, the line, too, on an edge of the ground's colour.

    So it is told from them by lightness, whatever their colours are and whatever the ground is.
    """
    line, dots = (next(one for one in plot.state.renderers if isinstance(one.glyph, kind)) for kind in (Line, Scatter))
    dots.name = BESIDE
    line.level, dots.level = "overlay" if crowded else "glyph", "overlay"
    edge = {"line_color": SURFACE, "line_width": EDGE_PX, "level": "annotation" if crowded else "underlay"}
    plot.state.line("x", "y", source=line.data_source, **edge)


def judged(views: Views, x: str, y: str) -> bool:
    """Whether there is a front: of two metrics, each with a side that is better."""
    return x != y and "none" not in _directions(views, x, y)


def front_parts(
    views: Views, x: str, y: str, *, ids: Sequence[str] | None = None, groups: str = ""
) -> list[hv.Element]:
    """What `trade_off` draws beside the models: fronts of groups, the front, its intervals, dots on its models."""
    beside, corners, whiskers, dots, turn = _front_tables(views, x, y, ids, groups)
    return [
        hv.Segments(beside, ENDS, ["colour"]).opts(color="colour", line_width=1.5),
        hv.Curve(corners, "x", "y").opts(color=INK_2, line_width=2, line_dash=[5, 3], interpolation=turn),
        hv.Segments(whiskers, ENDS).opts(color=INK_2, line_width=1),
        hv.Points(dots, ["x", "y"]).opts(color=SURFACE, line_color=INK, line_width=1.5, size=DOT_PX),
    ]


def front_columns(
    views: Views, x: str, y: str, *, ids: Sequence[str] | None = None, groups: str = ""
) -> list[dict[str, list[Any]]]:
    """The columns that `front_parts` have in a figure, part by part, many times as fast as drawing them."""
    beside, corners, whiskers, dots, turn = _front_tables(views, x, y, ids, groups)
    xs, ys = (np.repeat(corners[axis].to_numpy(), 2) for axis in "xy")
    stairs = (xs[1:], ys[:-1]) if turn == "steps-post" else (xs[:-1], ys[1:])
    return [
        _columns(beside.rename(columns={"colour": "color"})),
        {axis: at.tolist() for axis, at in zip("xy", stairs, strict=True)},
        _columns(whiskers),
        _columns(dots),
    ]


def _columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    """As lists: of each array the browser would get two messages of its own."""
    return {str(name): table[name].to_list() for name in table}


def _front_tables(
    views: Views, x: str, y: str, ids: Sequence[str] | None, groups: str
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, str]:
    """Pieces of groups' fronts, corners of the front, its intervals, its models, and where lines at corners turn."""
    directions = _directions(views, x, y)
    turn = "steps-post" if directions[0] == "lower" else "steps-pre"
    front, beside = NO_FRONT, NO_PIECES
    if judged(views, x, y):
        front = _front(views, x, y, ids)
        beside = _fronts(views, (x, y), groups, ids, turn == "steps-post") if groups else beside
    models = compare.models(views)
    every = pd.DataFrame({"x": column(models[x].to_pylist()), "y": column(models[y].to_pylist())})
    return beside, _staircase(front, every, directions), _whiskers(front), front[["x", "y"]], turn


def _directions(views: Views, x: str, y: str) -> tuple[str, str]:
    found = {row["metric"]: row["direction"] for row in compare.metric_definitions(views).to_pylist()}
    return found[x], found[y]


def group_colours(views: Views, x: str, y: str, groups: str) -> dict[str, str]:
    """Colour of each group that has a front: baselines, which no operation has touched, in grey.

    Raises:
        NotComparableError: As `compare.fronts` does.
    """
    names = dict.fromkeys(compare.fronts(views, [x, y], by=groups)["group"].to_pylist())
    return {name: INK_3 if name == NO_OPERATION else SERIES[n % len(SERIES)] for n, name in enumerate(names)}


def _fronts(
    views: Views, metrics: tuple[str, str], groups: str, ids: Sequence[str] | None, x_first: bool
) -> pd.DataFrame:
    """The front of each group as level and upright pieces with its colour."""
    x, y = metrics
    colours = group_colours(views, x, y, groups)
    table = compare.fronts(views, [x, y], by=groups, ids=ids).to_pandas().rename(columns={x: "x", y: "y"})
    parts = [NO_PIECES]
    for name, group in table.groupby("group"):
        front = group.sort_values(["x", "y"])
        xs, ys = front["x"].to_numpy(), front["y"].to_numpy()
        x0, y0, x1, y1 = xs[:-1], ys[:-1], xs[1:], ys[1:]
        turn_x, turn_y = (x1, y0) if x_first else (x0, y1)
        for ends in ((x0, y0, turn_x, turn_y), (turn_x, turn_y, x1, y1)):
            parts.append(pd.DataFrame(dict(zip(ENDS, ends, strict=True)) | {"colour": colours[name]}))
    return pd.concat(parts)


def _front(views: Views, x: str, y: str, ids: Sequence[str] | None) -> pd.DataFrame:
    table = compare.front(views, [x, y], ids=ids).to_pandas()
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
