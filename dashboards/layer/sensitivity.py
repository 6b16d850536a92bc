"""Sensitivity: what compressing each layer alone costs, and which modules a loss comes from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import panel as pn
from bokeh.plotting import figure as Figure

from cc_ray.wording import NOTHING, format_change, format_interval, format_value
from dashboards import figures, markup
from dashboards.chosen import Chosen
from dashboards.components import Message
from dashboards.layer import shown
from dashboards.layer.bisection import bisected, how_to_probe
from dashboards.layer.curves import bring_out, sensitivity_curves
from dashboards.layer.grid import Grid, Head, grid, next_sort, order
from dashboards.layer.series import Series, all_series, chosen_series, probed_metrics
from dashboards.layer.terms import term
from dashboards.layer.view import Card, View
from dashboards.scales import ColourScale
from dashboards.session import DRAWING, Session
from dashboards.sharing.shown import Shown
from dashboards.snapshot import Metric, Row, Snapshot
from dashboards.theme import layout

SPLIT_HINTS: Final = {
    "evaluation": "Measured on the instances that models are judged on",
    "calibration": "Measured on instances that steps may look at, so that the others still judge what is chosen by it",
}
CURVES_PX: Final = 300
"""Height of the drawn curves."""
PROBED: Final = frozenset({"models", "snapshot", "probed", "probe_metric", "probe_split"})
"""Choices that another series is shown after."""
Probed = tuple[Series, Metric] | None
Drawn = tuple[Figure, Series, Metric]


class Sensitivity(View):
    """Layers by level on the left; curves and bisections on the right."""

    name = "sensitivity"

    def __init__(self, session: Session, do: Callable[[Message], None]) -> None:
        super().__init__(session, do)
        self.levels = Card(session, "probe-card", self._do)
        self.curves = Card(session, "curve-card", self._do)
        self.place = layout("curve-place")
        self.place.sizing_mode, self.place.height = "stretch_width", CURVES_PX
        self.curves.part.insert(2, self.place)
        self.drawn: Drawn | None = None

    def part(self) -> pn.viewable.Viewable:
        """The levels on the left, the curves on the right."""
        return layout("layers-view", "sensitivity-view", children=[self.levels.part, self.curves.part])

    def update(self, changed: frozenset[str], now: Chosen) -> None:
        """Ask for what the change touches."""
        snapshot, chosen = self.session.snapshot, self.session.state.param.values()
        if changed & (PROBED | {"layers", "layer_sort"}):
            self.levels.ask(partial(_draw, snapshot, now, chosen), self._show)
        if changed & PROBED:
            self.drawn = None
            self.curves.ask(partial(_curves, snapshot, now, chosen), self._show_curves, DRAWING)
        elif "layer" in changed and self.drawn is not None:
            figure, series, metric = self.drawn
            bring_out(figure, series, chosen["layer"])
            self.curves.head.content = _title(series, metric, chosen["layer"])

    def _show(self, content: tuple[str, str, list[Shown]]) -> None:
        self.levels.head.content, self.levels.body.content, measured = content
        self.levels.menu.show(measured)
        self.curves.menu.show([*measured, *shown.bisections()])

    def _show_curves(self, found: tuple[Drawn | None, str]) -> None:
        drawn, self.curves.body.content = found
        self.place.visible = drawn is not None
        if drawn is None:
            self.place[:] = []
            self.curves.head.content = "<h2>Modules that a loss comes from</h2>"
            return
        figure, series, metric = drawn
        layer = self.session.state.layer
        # Before it is in the page: a change to what the browser does not know yet is an error.
        bring_out(figure, series, layer)
        self.place[:] = [figures.fill(figure)]
        self.curves.head.content, self.drawn = _title(series, metric, layer), drawn

    def _do(self, message: Message) -> None:
        state = self.session.state
        match message["do"]:
            case "probe":
                state.layer = message["row"]
            case "sort-rows":
                state.layer_sort = next_sort(state.layer_sort, message["by"])
            case _:
                self.do(message)


def _probed(snapshot: Snapshot, now: Chosen, chosen: dict[str, str]) -> Probed:
    metrics = probed_metrics(snapshot.views, tuple(snapshot.metrics))
    if not metrics:
        return None
    name = chosen["probe_metric"] if chosen["probe_metric"] in metrics else metrics[0]
    series = all_series(snapshot.views, name)
    return chosen_series(series, chosen["probed"], now.base, chosen["probe_split"]), snapshot.metrics[name]


def _draw(snapshot: Snapshot, now: Chosen, chosen: dict[str, str]) -> tuple[str, str, list[Shown]]:
    """Head and body of the levels, and what they show as questions."""
    found = _probed(snapshot, now, chosen)
    if found is None:
        return "<h2>Sensitivity</h2>", how_to_probe(snapshot, now.base), []
    series, metric = found
    head = _bar(snapshot, series, metric)
    return head, grid(_grid(series, metric, chosen)), shown.sensitivity(metric.metric, series.split)


def _grid(series: Series, metric: Metric, chosen: dict[str, str]) -> Grid:
    levels, patterns = series.levels, series.patterns
    cells = {(row["pattern"], row["level"]): row for row in series.rows}
    differences = [[cells.get((pattern, level), {}).get("difference") for level in levels] for pattern in patterns]
    values = np.array([[np.nan if value is None else value for value in line] for line in differences], float)
    good = -values if metric.direction == "lower" else values
    keys = ["" if level is None else f"{level:g}" for level in levels]
    worst = np.where(np.isfinite(good), good, np.inf).min(axis=1)
    rows = [int(place) for place in np.argsort(worst, kind="stable")]
    if (by := chosen["layer_sort"].removeprefix("-")) in keys:
        rows = order(values[:, keys.index(by)], chosen["layer_sort"])
    reach = float(np.nanmax(np.abs(good))) if np.isfinite(good).any() else 1.0
    return Grid(
        do="probe",
        corner=f"{len(patterns)} layers",
        rows=[Head(patterns[at], patterns[at], patterns[at]) for at in rows],
        columns=[Head(key, _named(series, key), _named(series, key)) for key in keys],
        values=good[rows],
        texts=[[_text(cells.get((patterns[at], level)), metric) for level in levels] for at in rows],
        scale=ColourScale(-(reach or 1.0), reach or 1.0, False, False),
        picked=(chosen["layer"], keys[-1]),
        sorted_rows=chosen["layer_sort"],
        diverging=True,
        inside=[[_short(cells.get((patterns[at], level)), metric) for level in levels] for at in rows],
    )


def _named(series: Series, key: str) -> str:
    name = (series.parameter or "applied").replace("_", " ")
    return f"{key} bits" if series.parameter == "bits" else f"{name} {key}".strip()


def _text(row: Row | None, metric: Metric) -> str:
    if row is None:
        return "not measured"
    if row["value"] is None:
        return row["reason"] or "not measured"
    change, value = format_change(row["difference"], metric.format), format_value(row["value"], metric.format)
    interval = format_interval(row["ci_low"], row["ci_high"], metric.format)
    return f"{change}, {value}{f' (95 % interval {interval})' if interval else ''}"


def _short(row: Row | None, metric: Metric) -> str:
    if row is None or row["difference"] is None:
        return NOTHING
    return format_change(row["difference"], metric.format).replace(" points", "")


def _bar(snapshot: Snapshot, series: Series, metric: Metric) -> str:
    names = probed_metrics(snapshot.views, tuple(snapshot.metrics))
    titles = {name: snapshot.metrics[name].label for name in names}
    every = all_series(snapshot.views, metric.metric)
    options = {one.key: f"{snapshot.labels.name(one.model)} · {one.what}" for one in every}
    splits: dict[str, str] = {one.split: one.split.capitalize() for one in every if one.key == series.key}
    choice = markup.switch("probe_split", splits, series.split, SPLIT_HINTS) if len(splits) > 1 else ""
    good = "higher" if metric.direction == "higher" else "lower"
    return (
        f'<div class="bar">{markup.select("probe_metric", "Metric", titles, metric.metric)}{choice}'
        f'<span class="roomy">{markup.select("probed", "Compressed", options, series.key)}</span></div>'
        f'<div class="bar keys"><span>{term("sensitivity", "Change of the metric")} on the {series.split} '
        f"split with each layer compressed alone, the most harmed first; {good} is better. The model as it is: "
        f"{_whole(series, metric)}.</span></div>"
    )


def _whole(series: Series, metric: Metric) -> str:
    return format_value(series.rows[0]["parent_value"], metric.format)


def _curves(snapshot: Snapshot, now: Chosen, chosen: dict[str, str]) -> tuple[Drawn | None, str]:
    """What is drawn, and what stands below it."""
    answers = bisected(snapshot, now)
    found = _probed(snapshot, now, chosen)
    if found is None:
        return None, answers
    series, metric = found
    if series.parameter is None:
        return None, answers  # There is no level to draw a curve over.
    return (
        figures.plain(lambda: sensitivity_curves(series, metric), f"{metric.label} by level, a line per layer"),
        series,
        metric,
    ), answers


def _title(series: Series, metric: Metric, layer: str) -> str:
    known = layer in series.patterns
    name = f"<code>{markup.esc(layer)}</code>" if known else "<small>pick a layer to bring it out</small>"
    return f"<h2>{markup.esc(metric.label)} by level {name}</h2>"
