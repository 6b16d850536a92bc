"""Several models by what differs between their recipes: a row each, grouped by the variables, with a bar per metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cc_ray import compare
from cc_ray.compare.labels import title
from cc_ray.wording import format_value
from dashboards.markup import esc, recipe, told, value
from dashboards.overview.terms import term
from dashboards.snapshot import Metric, Row, Snapshot

SHOWN: Final = 3
"""Variables with a column of their own; what else differs stands in the recipe."""
NAMED: Final = 2
"""Traits of one variable that are named."""
GROUPS: Final = 0.5
"""Rows are grouped by a variable that has at most this many values per row."""
MOST: Final = 300
"""Rows: of more models every second, third … of the order is shown, because thousands take the browser seconds."""
ALWAYS: Final = 2
"""Metrics that are shown even where there is little room."""
NARROW: Final = 0.25
"""Where values lie closer together than this share of the largest, dots on a part of the scale replace bars from 0."""


@dataclass(frozen=True)
class Extent:
    """The part of a metric's scale that is drawn."""

    low: float
    high: float
    bars: bool
    """Bars from zero; else dots."""

    def place(self, value: float | None) -> float:
        """Where a value stands, in percent of the width."""
        if value is None or self.high == self.low:
            return 50.0 if not self.bars else 0.0
        return round(100 * min(1, max(0, (value - self.low) / (self.high - self.low))), 2)


def differing(snapshot: Snapshot, ids: Sequence[str]) -> compare.Differences:
    """The answer of `compare.differences`, asked once for all that shows it."""
    return snapshot.once(("differences", tuple(ids)), lambda: compare.differences(snapshot.views, ids))


def differences(snapshot: Snapshot, ids: Sequence[str]) -> str:
    """HTML for two or more models."""
    differ = differing(snapshot, ids)
    variables = sorted(differ.variables.to_pylist(), key=lambda row: row["distinct"])[:SHOWN]
    order = {row["variable"]: {text: place for place, text in enumerate(row["values"])} for row in variables}
    labels = sorted(
        differ.labels.to_pylist(), key=lambda row: [order[name].get(row[name], 0) for name in order] + [row["name"]]
    )
    metrics = snapshot.primary or list(snapshot.metrics.values())[:5]
    extents = {metric.metric: _extent([snapshot.models[id] for id in ids], metric) for metric in metrics}
    names = [] if [row["kind"] for row in variables] == ["combination"] else list(order)
    words = {row["variable"]: _words(row) for row in variables}
    grouped = len(names) > 1 and variables[0]["distinct"] <= GROUPS * len(labels)
    shown = names[1:] if grouped else names
    rows, previous = [], None
    apart = math.ceil(len(labels) / MOST)
    for row in labels[::apart]:
        if grouped and row[names[0]] != previous:
            previous = row[names[0]]
            rows.append(_group(words[names[0]], previous, len(names) - 1 + len(metrics)))
        rows.append(_row(snapshot, row, shown, metrics, extents))
    heads = _heads([words[name] for name in shown] or ["Recipe"], metrics, extents)
    return (
        f"<h2>{len(ids)} models <small>{_summary(variables, len(differ.variables))}</small></h2>"
        f'<table class="rows lens"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>{_left_out(apart)}"
    )


def _left_out(apart: int) -> str:
    if apart == 1:
        return ""
    return f'<p class="soft">Of every {apart} models in this order one is shown; the tab Table has all models.</p>'


def _summary(variables: Sequence[Row], count: int) -> str:
    if not variables:
        return "made in the same way"
    more = f" and {count - len(variables)} more" if count > len(variables) else ""
    return term("differ in", "differences") + " " + esc("; ".join(_words(row) for row in variables)) + more


def _words(variable: Row) -> str:
    """A variable's name; of several traits folded together, the first ones, each operation named once."""
    said: list[str] = []
    before = ""
    for member in variable["members"]:
        operation, _, parameter = member.rpartition(" ")
        said.append(parameter.replace("_", " ") if operation and operation == before else title(member))
        before = operation
    return ", ".join(said[:NAMED]) + (" …" if len(said) > NAMED else "")


def _text(label: object) -> str:
    return esc(str(label).replace("_", " "))


def _extent(rows: Sequence[Row], metric: Metric) -> Extent:
    name = metric.metric
    ends = [row[f"{name}{end}"] for row in rows for end in ("", "_low", "_high") if row[f"{name}{end}"] is not None]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    if low >= 0 and high - low >= NARROW * high:
        return Extent(0.0, high, True)
    margin = 0.06 * (high - low)
    least = -math.inf if metric.min is None else metric.min
    most = math.inf if metric.max is None else metric.max
    return Extent(max(low - margin, least), min(high + margin, most), False)


def _heads(names: Sequence[str], metrics: Sequence[Metric], extents: dict[str, Extent]) -> str:
    first = "".join(f'<th class="variable">{esc(name)}</th>' for name in names)
    return first + "".join(
        f'<th class="bar-head{_rank(place)}">{told(metric.label, metric.meaning)}'
        f"<small>{esc(_range(extents[metric.metric], metric))}</small></th>"
        for place, metric in enumerate(metrics)
    )


def _rank(place: int) -> str:
    """Metrics after the second go where there is little room."""
    return "" if place < ALWAYS else " optional"


def _range(extent: Extent, metric: Metric) -> str:
    low = "0" if extent.low == 0 else format_value(extent.low, metric.format)
    # A heading breaks between its two ends, not before a unit.
    return " – ".join(end.replace(" ", "\N{NO-BREAK SPACE}") for end in (low, format_value(extent.high, metric.format)))


def _group(name: str, text: str, span: int) -> str:
    return f'<tr class="group"><th colspan="{span}"><span>{esc(name)}</span> {_text(text)}</th></tr>'


def _row(
    snapshot: Snapshot, labels: Row, names: Sequence[str], metrics: Sequence[Metric], extents: dict[str, Extent]
) -> str:
    id = labels["model_id"]
    row = snapshot.models[id]
    cells = (
        "".join(f"<td><span class=clamp>{_text(labels[name])}</span></td>" for name in names)
        or f"<td>{recipe(snapshot, id)}</td>"
    )
    bars = "".join(
        f'<td class="bar-cell{_rank(place)}">{_bar(row, metric, extents[metric.metric])}</td>'
        for place, metric in enumerate(metrics)
    )
    return (
        f'<tr data-do="select" data-model="{id}" data-point="{id}" data-key="row-{id}" tabindex="0"'
        f' data-tip="{esc(snapshot.labels.name(id))}">{cells}{bars}</tr>'
    )


def _bar(row: Row, metric: Metric, extent: Extent) -> str:
    shown = row[metric.metric]
    if shown is None:
        return value(row, metric)
    at = extent.place(shown)
    mark = f'<i class="fill" style="width:{at}%"></i>' if extent.bars else f'<i class="point" style="left:{at}%"></i>'
    low, high = row[f"{metric.metric}_low"], row[f"{metric.metric}_high"]
    whisker = ""
    if low is not None and high is not None:
        left = extent.place(low)
        whisker = f'<i class="whisker" style="left:{left}%;width:{extent.place(high) - left:.2f}%"></i>'
    return f'{value(row, metric)}<span class="track">{mark}{whisker}</span>'
