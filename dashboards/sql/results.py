"""An answer as a table, a page at a time, and what can be chosen about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from cc_ray.wording import NOTHING, format_duration, format_value
from dashboards import markup
from dashboards.gallery import pager
from dashboards.markup import esc
from dashboards.snapshot import Metric, Row
from dashboards.sql.asking import Outcome
from dashboards.sql.chart import KINDS, Axes, choices, is_number
from dashboards.state import short

PAGE: Final = 100
"""Rows on a page."""
LONGEST: Final = 160
"""Characters of a cell at most."""
WIDE: Final = 36
"""Characters for which a cell of text always has room."""
VIEWS: Final = {"table": "Table", "chart": "Chart"}

FIRST: Final = (
    '<div class="welcome"><h1>Ask the store anything</h1><p>Write a query above, or take one of the examples. '
    "Ctrl+Enter runs it, Ctrl+Space completes names.</p>"
    "<p>It only reads, in a process of its own, for 30 s at most.</p></div>"
)
WAITING: Final = '<p class="empty" role="status">The query is at work. Esc or Cancel stops it.</p>'


def head(outcome: Outcome | None, shown: str, axes: Axes) -> str:
    """How large the answer is and how long it took; table or chart, and of a chart its axes."""
    if outcome is None or outcome.table is None:
        return '<div class="bar"><h2>Answer</h2></div>'
    table, more = outcome.table, "the first " if outcome.truncated else ""
    size = f"{more}{table.num_rows:,} row{'' if table.num_rows == 1 else 's'} × {table.num_columns}"
    note = f'<span class="hint">{size}, {format_duration(outcome.duration_s)}</span>'
    controls = _controls(table, axes) if shown == "chart" else ""
    return f'<div class="bar"><h2>Answer</h2>{markup.switch("shown", VIEWS, shown)}{controls}{note}</div>'


def body(outcome: Outcome, offset: int, known: Mapping[str, Row], metrics: Mapping[str, Metric]) -> str:
    """HTML of one page of an answer, or of why there is none; a click on a model reports `do="open"`.

    Args:
        outcome: What came of the query.
        offset: Rows on the pages before.
        known: Models of the store.
        metrics: What metrics mean: columns of their names are written as they are everywhere.
    """
    if outcome.table is None:
        return f'<p class="failure" role="alert">{esc(outcome.error)}</p>'
    table = outcome.table
    if not table.num_rows:
        return '<p class="empty">No row answers to this query. A WHERE or a JOIN may leave out too much.</p>'
    fields = list(table.schema)
    heads = "".join(f"<th{_kind(field.type)}>{_head(field.name, metrics)}</th>" for field in fields)
    # By place: two columns may have one name.
    columns = [column.slice(offset, PAGE).to_pylist() for column in table.columns]
    formats = [_format(field.name, metrics) for field in fields]
    rows = "".join(
        "<tr>"
        + "".join(_cell(value, *how, known) for value, how in zip(row, zip(fields, formats, strict=True), strict=True))
        + "</tr>"
        for row in zip(*columns, strict=True)
    )
    turn = pager(offset, table.num_rows, PAGE) if table.num_rows > PAGE else ""
    return (
        f'{turn}<table class="rows answer" aria-label="Answer"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _controls(table: pa.Table, axes: Axes) -> str:
    x, y = choices(table)
    if not y:
        return ""
    return (
        markup.select("kind", "Kind of chart", KINDS, axes.kind, seen=False)
        + markup.select("x", "x", {name: name for name in x}, axes.x)
        + markup.select("y", "y", {name: name for name in y}, axes.y)
    )


def _kind(type: pa.DataType) -> str:
    return ' class="number"' if is_number(type) else ""


def _head(column: str, metrics: Mapping[str, Metric]) -> str:
    """A column's name; where it is a metric's with what this means."""
    return markup.told(column, metrics[column].meaning if column in metrics else "")


def _format(column: str, metrics: Mapping[str, Metric]) -> str:
    for end in ("_low", "_high", ""):
        name = column.removesuffix(end) if end else column
        if name in metrics:
            return metrics[name].format
    return ""


def _cell(value: Any, field: pa.Field, format: str, known: Mapping[str, Row]) -> str:
    if isinstance(value, str) and value in known:
        return (
            f'<td><button class="link" data-do="open" data-model="{value}" data-tip="Select it and go to the Overview">'
            f"<code>{short(value)}</code></button></td>"
        )
    if is_number(field.type):
        exact = "" if value is None else f' data-tip="{esc(str(value))}"'
        return f'<td class="number"{exact}>{esc(_number(value, format))}</td>'
    text = plain(value)
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    whole = f' data-tip="{esc(text[:2000])}"' if cut != text else ""
    # Wide enough to be read beside many columns.
    return f'<td style="min-width:{min(len(text), WIDE)}ch"{whole}><span class="lines">{esc(cut)}</span></td>'


def _number(value: Any, format: str) -> str:
    if value is None:
        return NOTHING
    if format:
        return format_value(float(value), format)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{float(value):.6g}" if math.isfinite(value) else str(value)


def plain(value: Any) -> str:
    """Any value of an answer in words."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value)
    return str(value)
