"""Arrow tables as bytes: the formats in which programs get answers, the same from every door.

JSON is a list of objects, one a row. CSV has a line of names, and lists and mappings as JSON. In both, bytes are in
base 64, times in ISO 8601, decimal numbers are numbers, and null stands for what is not finite; CSV leaves null empty.
"""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from cc_ray.errors import QueryError

FORMATS: Final = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
"""Media type by name of the format; `arrow` is Arrow's stream."""


def encode(table: pa.Table, format: str) -> bytes:
    """Write a table.

    Args:
        table: Rows and columns; of columns of one name, all but the first get a number behind it.
        format: One of `FORMATS`.

    Raises:
        QueryError: If the format cannot hold the table.
    """
    table = told_apart(table)
    try:
        if format == "arrow":
            return _arrow(table)
        if format == "parquet":
            return _parquet(table)
        return _csv(table) if format == "csv" else _json(table)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, ValueError) as error:
        raise QueryError(f"{format} cannot hold this answer: {error}. Cast the column or choose json.") from error


def rows(table: pa.Table) -> list[dict[str, Any]]:
    """The rows as JSON can hold them."""
    return [{name: plain(value) for name, value in row.items()} for row in told_apart(table).to_pylist()]


def told_apart(table: pa.Table) -> pa.Table:
    """The table, with a number behind names of columns that are taken: a row holds each name once."""
    taken: dict[str, None] = {}
    for name in table.column_names:
        candidates = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(1)))
        taken[next(candidate for candidate in candidates if candidate not in taken)] = None
    return table.rename_columns(list(taken))


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(held) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [plain(held) for held in value]
    if value is None or isinstance(value, str | int):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _json(table: pa.Table) -> bytes:
    # A line per row, for people; an indented row would be four times as slow to write.
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows(table))
    return f"[{lines}]\n".encode()


def _arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _parquet(table: pa.Table) -> bytes:
    # Takes a while to import, and few ask for it.
    from pyarrow import parquet

    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _csv(table: pa.Table) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows([_field(value) for value in row.values()] for row in rows(table))
    return sink.getvalue().encode()


def _field(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
