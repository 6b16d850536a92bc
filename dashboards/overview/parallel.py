"""Recipes: what recipes differ in against metrics, an axis each, a line a model.

The axes lie one below the other, so that names have room and a metric's axis is brushed like its histogram: the same
filter, seen from both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cc_ray import compare
from cc_ray.compare.labels import title
from cc_ray.wording import format_value
from dashboards import markup
from dashboards.markup import esc
from dashboards.overview.filter_pane import written
from dashboards.overview.filters import OPEN, Filters
from dashboards.scales import colour_scale, column
from dashboards.snapshot import Row, Snapshot
from dashboards.theme import css

MOST: Final = 400
"""With more lines than this nothing can be told apart."""
VARIABLES: Final = 4
METRICS: Final = 4
STEPS: Final = 20
"""Of the arrow keys along an axis."""
CHARACTERS: Final = 64
"""More than these in an axis's labels would overlap: then only its ends have one."""
MEANING: Final = (
    "An axis for what the recipes differ in, then one for each metric; a line is a model. Drag over a metric's axis to "
    "filter, click a line to select its model."
)


@dataclass(frozen=True)
class Axis:
    """One axis with a place in [0, 1] for each model; None where the model has none."""

    name: str
    hint: str
    places: Sequence[float | None]
    ticks: Sequence[tuple[float, str]]
    brush: str = ""
    """Attributes of what can be brushed."""
    band: str = ""


def parallel(
    snapshot: Snapshot, ids: Sequence[str], metrics: Sequence[str], filters: Filters, colour: str, chosen: Sequence[str]
) -> str:
    """HTML of the view.

    Args:
        snapshot: Of the store.
        ids: Models.
        metrics: Those with an axis.
        filters: What is filtered by.
        colour: Metric that colours the lines; "" for none.
        chosen: The selected models.
    """
    if not 1 < len(ids) <= MOST:
        many = f"{len(ids):,} lines cannot be told apart: filter or select up to {MOST}."
        return f'<p class="empty">{many if len(ids) > MOST else "Two models at least have something to differ in."}</p>'
    axes = [*_variables(snapshot, ids), *(_metric(snapshot, ids, name, filters) for name in metrics[:METRICS])]
    lines, rows = _lines(snapshot, ids, axes, colour, chosen), "".join(map(_axis, axes))
    drawn = f'<div class="names">{_names(axes)}</div><div class="axes">{lines}{rows}</div>'
    return f'<div class="parallel" style="--axes:{len(axes)}">{drawn}</div>'


def _variables(snapshot: Snapshot, ids: Sequence[str]) -> list[Axis]:
    found = snapshot.once(("differences", tuple(ids)), lambda: compare.differences(snapshot.views, ids))
    return [
        _variable(row, found.labels[row["variable"]].to_pylist()) for row in found.variables.to_pylist()[:VARIABLES]
    ]


def _variable(row: Row, labels: Sequence[str]) -> Axis:
    values = row["values"]
    place = {value: index / max(len(values) - 1, 1) for index, value in enumerate(values)}
    room = sum(len(value) + 4 for value in values) <= CHARACTERS
    ticks = [(place[value], value) for value in (values if room else values[:: max(len(values) - 1, 1)])]
    return Axis(
        title(row["members"][0]), "; ".join(map(title, row["members"])), [place[label] for label in labels], ticks
    )


def _metric(snapshot: Snapshot, ids: Sequence[str], name: str, filters: Filters) -> Axis:
    metric = snapshot.metrics[name]
    everything = column(snapshot.table[name].to_pylist())
    known = everything[everything == everything]
    low, high = float(known.min()), float(known.max())
    width = (high - low) or 1.0
    values = [snapshot.models[id][name] for id in ids]
    places = [None if value is None else (value - low) / width for value in values]
    ticks = [(0.0, format_value(low, metric.format)), (1.0, format_value(high, metric.format))]
    ends = filters.intervals.get(name, OPEN)
    said = markup.brush(f"axis-{name}", metric.label, (low, high, STEPS), written(ends, metric), name)
    brush = f'class="axis brushed" {said}'
    left = 0.0 if ends[0] is None else (ends[0] - low) / width
    right = 1.0 if ends[1] is None else (ends[1] - low) / width
    left, right = (min(1.0, max(0.0, end)) for end in (left, right))
    band = "" if ends == OPEN else f"left:{100 * left:.2f}%;width:{100 * max(0.0, right - left):.2f}%"
    return Axis(metric.label, metric.meaning or metric.label, places, ticks, brush, band)


def _names(axes: Sequence[Axis]) -> str:
    return "".join(f"<div>{markup.told(axis.name, axis.hint)}</div>" for axis in axes)


def _axis(axis: Axis) -> str:
    ticks = "".join(
        f'<span style="left:{100 * place:.1f}%" class="{_side(place)}">{esc(text)}</span>' for place, text in axis.ticks
    )
    attributes = axis.brush or 'class="axis"'
    return f'<div {attributes}><i class="band" style="{axis.band}"></i><div class="ticks">{ticks}</div></div>'


def _side(place: float) -> str:
    return "first" if place < 0.02 else "last" if place > 0.98 else ""


def _lines(snapshot: Snapshot, ids: Sequence[str], axes: Sequence[Axis], colour: str, chosen: Sequence[str]) -> str:
    values = column([snapshot.models[id].get(colour) if colour else None for id in ids])
    paints = colour_scale(values)(values)
    marked = set(chosen)
    lines = "".join(
        f'<path d="{_path(axes, place)}" stroke="{css(paint)}" data-do="select" data-model="{id}" data-point="{id}"'
        f' class="{"on" if id in marked else ""}"><title>{esc(snapshot.labels.name(id))}</title></path>'
        for place, (id, paint) in enumerate(zip(ids, paints, strict=True))
    )
    kind = "some" if marked & set(ids) else ""
    return f'<svg class="{kind}" viewBox="0 0 1000 {100 * len(axes)}" preserveAspectRatio="none">{lines}</svg>'


def _path(axes: Sequence[Axis], model: int) -> str:
    """A line through the axes' middles; it breaks off where the model has no value."""
    parts, pen = [], "M"
    for row, axis in enumerate(axes):
        at = axis.places[model]
        if at is None:
            pen = "M"
            continue
        parts.append(f"{pen}{1000 * at:.0f} {100 * row + 30}")
        pen = "L"
    return "".join(parts)
