"""Answers as tables for people and as files for programs."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cc_ray.wording import NOTHING, format_value

if TYPE_CHECKING:
    import pyarrow as pa

screen: Final = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
"""Where answers go; wide where no terminal sets a limit."""
notices: Final = Console(stderr=True, highlight=False)
"""Where errors and progress go, so that answers can be piped."""
SHOWN_ITEMS: Final = 6
"""How much of a list a cell shows."""


class Format(StrEnum):
    """How an answer is written: a table for people, the others for programs."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"


def write(table: pa.Table, kind: Format, output: Path | None) -> None:
    """Write an answer as the user asked for it.

    Args:
        table: The answer.
        kind: JSON is a list of objects, with bytes in base 64.
        output: File; None writes to standard output.
    """
    if output is not None:
        output.write_bytes(_encode(table, kind))
        notices.print(f"{table.num_rows} rows in {output}")
    elif kind is Format.table:
        show(table)
    else:
        sys.stdout.buffer.write(_encode(table, kind))
        sys.stdout.buffer.flush()


def show(
    table: pa.Table, *, headers: Mapping[str, str] | None = None, formats: Mapping[str, str] | None = None
) -> None:
    """Draw a table.

    Args:
        table: Rows and columns to draw; values are shortened.
        headers: Heading by column, where it is not the column's name.
        formats: Metric format by column, as in `schema.METRIC_DEFINITIONS`.
    """
    drawn = grid()
    for field in table.schema:
        number = not str(field.type).startswith(("string", "list", "large"))
        drawn.add_column((headers or {}).get(field.name, field.name), justify="right" if number else "left")
    for row in table.to_pylist():
        drawn.add_row(*(Text(cell(value, (formats or {}).get(name))) for name, value in row.items()))
    screen.print(drawn)


def grid(*headings: str) -> Table:
    """An empty table in the house's style; headings that start with `>` stand over numbers."""
    drawn = Table(header_style="dim", box=None)
    for heading in headings:
        drawn.add_column(heading.removeprefix(">"), justify="right" if heading.startswith(">") else "left")
    return drawn


def heading(text: str) -> None:
    """Say what comes next."""
    screen.print()
    screen.print(Text(text, style="bold"), soft_wrap=True)


def cell(value: Any, kind: str | None = None) -> str:
    """Write one value of a table in a few characters.

    Args:
        value: Any value that Arrow gives.
        kind: Format of the metric that it belongs to.
    """
    if value is None:
        return NOTHING
    if kind is not None and isinstance(value, int | float):
        return format_value(value, kind)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, Sequence) and not isinstance(value, str):
        more = ", …" if len(value) > SHOWN_ITEMS else ""
        return ", ".join(cell(item) for item in value[:SHOWN_ITEMS]) + more
    return str(value)


def duration(seconds: float) -> str:
    """Write a time for people: 4.2 s, 2 min 05 s, 3 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _encode(table: pa.Table, kind: Format) -> bytes:
    if kind is Format.json:
        return (json.dumps(table.to_pylist(), default=_plain, ensure_ascii=False, indent=1) + "\n").encode()
    sink = io.BytesIO()
    if kind is Format.parquet:
        # Imported here: the screen needs none of it.
        from pyarrow import parquet

        parquet.write_table(table, sink)
    else:
        table.to_pandas().to_csv(sink, index=False)
    return sink.getvalue()


def _plain(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
