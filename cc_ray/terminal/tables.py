"""Answers as tables for people and as files for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cc_ray.errors import CcRayError
from cc_ray.wording import NOTHING, format_duration, format_value

if TYPE_CHECKING:
    import pyarrow as pa

screen: Final = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)
"""Where answers go; wide where no terminal sets a limit. What stands in the store is shown as it is, brackets too."""
notices: Final = Console(stderr=True, highlight=False, markup=False, emoji=False)
"""Where errors and progress go, so that answers can be piped."""
SHOWN_ITEMS: Final = 6
"""How much of a list a cell shows."""
duration: Final = format_duration


class Format(StrEnum):
    """How an answer is written: a table for people, the others for programs."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"
    arrow = "arrow"


def write(table: pa.Table, kind: Format, output: Path | None) -> None:
    """Write an answer as the user asked for it.

    Args:
        table: The answer.
        kind: As `cc_ray.formats` writes it; a table is drawn, or CSV in a file.
        output: File; None writes to standard output.

    Raises:
        CcRayError: If the file cannot be written, or the format cannot hold the answer.
    """
    # Imported here: the screen needs none of it.
    from cc_ray.formats import encode, told_apart

    written = "csv" if kind is Format.table else kind.value
    if output is not None:
        try:
            output.write_bytes(encode(table, written))
        except OSError as error:
            raise CcRayError(f"cannot write to {output}: {error.strerror or error}. Name another --output.") from error
        notices.print(f"{table.num_rows} rows in {output}", soft_wrap=True)
    elif kind is Format.table:
        show(told_apart(table))
    else:
        sys.stdout.buffer.write(encode(table, written))
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
