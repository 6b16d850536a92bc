"""The Table tab: every model that passes, sorted by any metric, a page at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Final

from cc_ray.compare.labels import STEP
from dashboards import markup
from dashboards.markup import esc
from dashboards.snapshot import Metric, Snapshot

PAGE: Final = 50
NAME: Final = "name"
"""The order by what models are called."""


def columns(snapshot: Snapshot, chosen: str) -> list[str]:
    """Metrics that have a column: the chosen ones, else the primary ones."""
    found = [name for name in chosen.split(",") if name in snapshot.metrics]
    return found or [metric.metric for metric in snapshot.primary] or list(snapshot.metrics)[:5]


def ordered(snapshot: Snapshot, ids: Sequence[str], order: str) -> list[str]:
    """Models in the order of a metric, of their names, or as they were made; those without the metric come last.

    Args:
        snapshot: Of the store.
        ids: The models.
        order: A metric or `name`; with - in front the greatest first; "" for the order given.
    """
    key, down = order.removeprefix("-"), order.startswith("-")
    if key == NAME:
        return sorted(ids, key=snapshot.labels.name, reverse=down)
    if key not in snapshot.metrics:
        return list(ids)
    values = dict(zip(snapshot.models, snapshot.table[key].to_pylist(), strict=True))
    there = [id for id in ids if _known(values[id])]
    return sorted(there, key=values.__getitem__, reverse=down) + [id for id in ids if not _known(values[id])]


def model_table(snapshot: Snapshot, ids: Sequence[str], names: Sequence[str], order: str, offset: int) -> str:
    """HTML of one page; which of its rows are selected, `Html.chosen` says.

    Args:
        snapshot: Of the store.
        ids: All models of the table, in order.
        names: Metrics that have a column.
        order: What the models are in order of.
        offset: Place of the first model shown.
    """
    metrics = [snapshot.metrics[name] for name in names]
    shown = ids[offset : offset + PAGE]
    heads = _head(NAME, "Model", "What was done to the base model, step by step", order, "") + "".join(
        _head(metric.metric, metric.label, metric.meaning, order, "number") for metric in metrics
    )
    rows = "".join(_row(snapshot, id, metrics) for id in shown)
    return (
        f'<div class="bar table-bar">{_pager(len(ids), offset)}{_all(len(ids))}{_choice(snapshot, names)}</div>'
        f'<div class="wide" data-scroll="models"><table class="rows models"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _head(name: str, label: str, meaning: str, order: str, kind: str) -> str:
    on, down = order.removeprefix("-") == name, order.startswith("-")
    following = "" if on and not down else f"-{name}" if not on else name
    sort = {True: ' aria-sort="descending"' if down else ' aria-sort="ascending"', False: ""}[on]
    sign = ("▼" if down else "▲") if on else ""
    return (
        f'<th class="{kind}"{sort}><button class="sorting" data-do="set" data-name="order" data-key="order-{esc(name)}"'
        f' data-value="{esc(following)}" data-tip="{esc(meaning or label)}. Click to sort.">'
        f"{esc(label)} {sign}</button></th>"
    )


def _row(snapshot: Snapshot, id: str, metrics: Sequence[Metric]) -> str:
    row = snapshot.models[id]
    cells = "".join(f'<td class="number">{markup.value(row, metric)}</td>' for metric in metrics)
    return (
        f'<tr data-do="select" data-model="{id}" data-point="{id}" data-key="table-{id}" tabindex="0"'
        f' aria-selected="false"><td>{_name(snapshot, id)}</td>{cells}</tr>'
    )


def _name(snapshot: Snapshot, id: str) -> str:
    """On one line: the last step, then what came before it."""
    *before, last = snapshot.labels.name(id).split(STEP)
    after = f' <span class="soft">after {esc(STEP.join(before))}</span>' if before else ""
    return f'<div class="clip" data-tip="{esc(snapshot.labels.name(id))}"><b>{esc(last)}</b>{after}</div>'


def _pager(count: int, offset: int) -> str:
    end = min(offset + PAGE, count)
    range_ = f"{offset + 1:,}–{end:,} of {count:,}" if count else "no models"
    back, on = ("" if possible else " disabled" for possible in (offset > 0, end < count))
    return (
        f'<button data-do="page" data-offset="{max(0, offset - PAGE)}" data-key="back" data-tip="Previous page"'
        f' aria-label="Previous page"{back}>‹</button><span class="number">{range_}</span>'
        f'<button data-do="page" data-offset="{offset + PAGE}" data-key="on" data-tip="Next page"'
        f' aria-label="Next page"{on}>›</button>'
        '<span class="hint optional">Click or Enter selects, Shift adds</span>'
    )


def _all(count: int) -> str:
    """What selects as dragging over a plot does; the models that lie in intervals are those that pass the filters."""
    return markup.button("select-kept", "Select all", "Select all models of the table") if count else ""


def _choice(snapshot: Snapshot, names: Collection[str]) -> str:
    boxes = "".join(
        f'<label data-tip="{esc(metric.meaning)}"><input type="checkbox" data-do="column" data-name="{esc(name)}"'
        f' data-key="column-{esc(name)}"{" checked" if name in names else ""}> {esc(metric.label)}</label>'
        for name, metric in snapshot.metrics.items()
    )
    return (
        '<details class="menu" data-key="columns"><summary>Columns</summary>'
        f'<div class="choices">{boxes}</div></details>'
    )


def _known(value: Any) -> bool:
    return value is not None and math.isfinite(value)
