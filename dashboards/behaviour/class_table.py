"""The table of classes (or slices) and models: means, changes, histograms to brush."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cc_ray.wording import format_interval, format_value, is_nothing
from dashboards.behaviour.asked import brief
from dashboards.behaviour.averages import SIGNIFICANT, Averages, taken
from dashboards.behaviour.histogram import histogram
from dashboards.behaviour.terms import info
from dashboards.behaviour.view import choose, mark
from dashboards.chosen import BASE_BADGE
from dashboards.markup import esc
from dashboards.snapshot import Row
from dashboards.state import short

MOST_ROWS: Final = 60
"""Classes on the screen at once."""
_ORDERS: Final = {"": "falling", "falling": "rising", "rising": ""}
_SIGNS: Final = {"": "↕", "falling": "↓", "rising": "↑"}


def class_table(found: Averages, names: Mapping[str, str], rank: str, start: int, selected: bool) -> str:
    """HTML of the table.

    Args:
        found: What it shows.
        names: Short names by model_id, of base and models.
        rank: Model and order as the address has them; empty for the order of the classes.
        start: Classes that are left out before the first one shown.
        selected: Whether models can be taken out.
    """
    asked = found.asked
    columns = [asked.now.base, *asked.now.ids]
    keys = found.ordered(order(found, rank))
    places = {id: place for place, id in enumerate(asked.now.ids)}
    heads = "".join(_head(found, id, places, names, rank, selected) for id in columns)
    rows = "".join(_row(found, key, columns) for key in keys[start : start + MOST_ROWS])
    what = "Class" if found.by_class else "Slice"
    in_points = asked.kind in ("difference", "value") and asked.shown.format == "percent" and asked.shown.alone
    points = " <small>change in percentage points</small>" if in_points else ""
    table = (
        f'<table class="rows classes"><thead><tr><th class="name">{what} {info("histogram")}{points}</th>{heads}</tr>'
        f"</thead><tbody>{_total(found, columns)}{_moves(found, columns)}{rows}</tbody></table>"
    )
    return f'<div class="wide" data-scroll="classes">{table}</div>{_pager(start, len(keys))}'


def order(found: Averages, rank: str) -> tuple[str, bool] | None:
    """The model whose values give the order, and whether they rise."""
    model, _, way = rank.partition(":")
    model_id = found.asked.snapshot.known.get(model)
    return (model_id, way == "rising") if model_id in found.total else None


def _head(
    found: Averages, id: str, places: Mapping[str, int], names: Mapping[str, str], rank: str, selected: bool
) -> str:
    is_base = id == found.asked.now.base
    badge = BASE_BADGE if is_base else mark(places[id])
    model, _, way = rank.partition(":")
    now = way if model == short(id) else ""
    following = f"{short(id)}:{_ORDERS[now]}" if _ORDERS[now] else ""
    by = "value" if found.asked.kind != "difference" else "size of the change"
    sort = (
        f'<button class="rank{" on" if now else ""}" {choose(f"rank-{id}", rank=following, offset=0)}'
        f' data-tip="Sort by {by}: largest first, smallest first, by name" aria-label="Sort by {esc(names[id])}">'
        f"{_SIGNS[now]}</button>"
    )
    sort = "" if is_base and found.asked.kind != "value" else sort
    cross = (
        f'<button class="cross" data-do="drop" data-model="{id}" data-key="out-{id}" aria-label="Leave out">×</button>'
        if selected and not is_base
        else ""
    )
    full = esc(found.asked.snapshot.labels.name(id))
    drawn = "" if is_base and found.asked.kind != "value" else histogram(found.asked, id, found.bins[id], names[id])
    return (
        f'<th class="column" data-of="{id}"><div class="top">{badge}<span class="clamp" data-tip="{full}">'
        f"{esc(names[id])}</span>{sort}{cross}</div>{drawn}</th>"
    )


def _total(found: Averages, columns: list[str]) -> str:
    n = max((row["n"] for row in found.total.values()), default=0)
    cells = "".join(_cell(found, id, found.total.get(id), marked=False) for id in columns)
    return f'<tr class="total"><th scope="row">All instances <small>n = {n:,}</small></th>{cells}</tr>'


def _moves(found: Averages, columns: list[str]) -> str:
    cells = "".join(f'<td class="move-cell">{_move(found.moved.get(id))}</td>' for id in columns)
    what = "Most frequent prediction" if found.asked.kind == "value" else "Most frequent change"
    return f'<tr class="total"><th scope="row">{what}</th>{cells}</tr>'


def _move(row: Row | None) -> str:
    if row is None:
        return '<span class="soft">–</span>'
    before = f"{esc(row['base_prediction_name'])} → " if "base_prediction_name" in row else ""
    words = f"{before}{esc(row['prediction_name'])}"
    hint = f"{words}: {row['share']:.2%} of the instances"
    return f'<span class="clamp" data-tip="{hint}">{words} <b>{row["count"]:,}</b></span>'


def _row(found: Averages, key: str, columns: list[str]) -> str:
    n = max((row["n"] for id in columns if (row := found.cells.get((id, key)))), default=0)
    cells = "".join(_cell(found, id, found.cells.get((id, key)), marked=True) for id in columns)
    name = esc(found.groups[key])
    link = choose(f"class-{key}", part="instances", only="all", offset=0, **instances_of(found, key))
    return (
        f'<tr><th scope="row"><button class="link" {link} data-tip="Show the instances of {name}">{name}</button>'
        f" <small>{n:,}</small></th>{cells}</tr>"
    )


def _cell(found: Averages, id: str, row: Row | None, *, marked: bool) -> str:
    asked = found.asked
    if row is None:
        return '<td class="number soft">–</td>'
    shown = asked.shown
    if id == asked.now.base and shown.alone:
        return f'<td class="number">{esc(format_value(row["base_mean"], shown.format))}</td>'
    if not shown.alone or asked.kind in ("absolute", "ratio"):
        return f'<td class="number">{esc(asked.written(taken(asked, row)))}</td>'
    change = row["difference"]
    p = row["holm_p"]
    star = "*" if marked and p is not None and p < SIGNIFICANT else ""
    written = f"{brief(change, shown)}{star}"
    verdict = "even" if change is None or is_nothing(written) else shown.verdict(change)
    low, high = row["difference_low"], row["difference_high"]
    hint = f"95 % interval {format_interval(low, high, shown.format)}" if low is not None else ""
    hint += f", p (Holm) {p:.2g}" if marked and p is not None else ""
    mean = esc(format_value(row["mean"], shown.format))
    first, second = (mean, f'<small class="{verdict}">{esc(written)}</small>')
    if asked.kind == "difference":
        first, second = f'<span class="{verdict}">{esc(written)}</span>', f'<small class="soft">{mean}</small>'
    return f'<td class="number" data-tip="{esc(hint)}">{first} {second}</td>'


def _pager(start: int, count: int) -> str:
    if count <= MOST_ROWS:
        return ""
    last = min(start + MOST_ROWS, count)
    steps = _step("‹", start - MOST_ROWS, start > 0) + _step("›", start + MOST_ROWS, last < count)
    return f'<div class="pager">{steps}<span>{start + 1:,}–{last:,} of {count:,}</span></div>'


def _step(sign: str, start: int, there: bool) -> str:
    off = "" if there else " disabled"
    return f'<button data-do="classes" data-start="{start}" data-key="classes-{sign}"{off}>{sign}</button>'


def instances_of(found: Averages, key: str) -> dict[str, str]:
    """Choices that leave only the instances of a class or slice."""
    if found.by_class:
        return {"label": key}
    quoted = key.replace("'", "''")
    return {"where": f"list_contains(slices, '{quoted}')"}
