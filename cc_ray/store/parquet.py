"""How rows stand in a Parquet file: their order, row groups of a sensible size, narrow columns, one compression.

A question about one model reads the row groups whose smallest and largest `model_id` admit it. So rows of a model lie
together, small models share a row group and a large one has its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from cc_ray.errors import StoreError
from cc_ray.schema import SCHEMA_VERSION, TABLES, Table

GROUP_BYTES: Final = 16 * 2**20
"""Values of one row group in memory, about; a reader holds a few row groups at once."""

_PIECE_BYTES: Final = GROUP_BYTES // 4
_MOST_ROWS: Final = 2**20
_READERS: Final = 8
"""Files that are read at once: where a disk or server takes its time, the others do not wait."""
_ORDER: Final = b"order"


def order(table: Table) -> tuple[str, ...]:
    """Columns by which the rows of one batch are sorted: the model first, where there is one."""
    has_models = any(column.name == "model_id" for column in table.columns)
    return ("model_id", *table.sort_by) if has_models and table.sort_by else table.sort_by


def table_of(schema: pa.Schema) -> Table:
    """The table that a schema says it is of."""
    return TABLES[schema.metadata[b"table"].decode()]


def write(rows: pa.Table, path: Path) -> None:
    """Write the rows of one table's batch, sorted, and sync the file."""
    table = table_of(rows.schema)
    with synced(path) as file, Writer(file, table, rows.schema) as writer:
        writer.add([_sorted(rows, table)])


@contextmanager
def synced(path: Path) -> Iterator[BinaryIO]:
    """A new file, which is on the disk when the block ends."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


class Writer:
    """Writes one file of one table, a batch after the other, in row groups of about `GROUP_BYTES`.

    Args:
        file: Where its bytes go; stays open.
        table: Its table.
        schema: Its columns, as the table has them or narrow.
    """

    def __init__(self, file: BinaryIO, table: Table, schema: pa.Schema) -> None:
        metadata = {"table": table.name, "schema_version": str(SCHEMA_VERSION), _ORDER: ",".join(order(table))}
        self.schema = schema.with_metadata(metadata)
        self._parquet = pq.ParquetWriter(
            file, self.schema, compression=_codecs(schema), use_dictionary=_with_dictionary(schema)
        )
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self._parquet.close()

    def close(self) -> None:
        """Write what is left, and the file's end."""
        self._flush()
        self._parquet.close()

    def add(self, pieces: Iterable[pa.Table]) -> int:
        """Write the rows of one batch, given piece by piece; returns their number."""
        own: list[pa.Table] = []
        own_bytes = rows = 0
        large = False
        for piece in pieces:
            own.append(piece)
            own_bytes += piece.nbytes
            rows += piece.num_rows
            if own_bytes >= GROUP_BYTES:
                if not large:
                    self._flush()
                large = True
                self._write(own)
                own, own_bytes = [], 0
        if large:
            self._write(own)
        else:
            self._wait(own, own_bytes)
        return rows

    def _wait(self, pieces: list[pa.Table], size: int) -> None:
        if self._waiting_bytes + size > GROUP_BYTES:
            self._flush()
        self._waiting += pieces
        self._waiting_bytes += size

    def _flush(self) -> None:
        self._write(self._waiting)
        self._waiting, self._waiting_bytes = [], 0

    def _write(self, pieces: list[pa.Table]) -> None:
        rows = pa.concat_tables([piece.cast(self.schema) for piece in pieces]) if pieces else None
        if rows is not None and rows.num_rows:
            groups = max(round(rows.nbytes / GROUP_BYTES), 1)
            self._parquet.write_table(rows, row_group_size=min(_MOST_ROWS, -(-rows.num_rows // groups)))


def pieces(path: Path, table: Table, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of one file in the order that `order` names, a few megabytes at a time.

    A file of several models that an older program wrote in another order is sorted in memory.

    Args:
        path: The file.
        table: Its table.
        schema: Columns to give: those the file lacks are null, narrow ones are widened where it says so.

    Raises:
        StoreError: If the file is damaged.
    """
    with _naming(path), pa.OSFile(str(path)) as source, pq.ParquetFile(source, pre_buffer=False) as file:
        if not file.metadata.num_rows:
            return
        if not _in_order(file, table):
            yield _sorted(fitted(file.read(), schema), table)
            return
        size = sum(file.metadata.row_group(index).total_byte_size for index in range(file.num_row_groups))
        rows = _PIECE_BYTES * file.metadata.num_rows // max(size, 1)
        for batch in file.iter_batches(min(max(rows, 1), _MOST_ROWS), use_threads=size > _PIECE_BYTES):
            yield fitted(pa.Table.from_batches([batch]), schema)


def read_span(
    path: Path, start: int, end: int | None, columns: Sequence[str] | None = None, most: int | None = None
) -> pa.Table:
    """Rows of a file; reads only the row groups that they lie in.

    Args:
        path: The file.
        start: The first row.
        end: The row after the last; None for all.
        columns: Names of those to read; None for all.
        most: Of how many row groups at most; rows that lie in further ones are left out.
    """
    with path.open("rb") as source, pq.ParquetFile(source) as file:
        counts = (file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
        edges = [0, *accumulate(counts)]
        end = edges[-1] if end is None else end
        groups = [group for group in range(file.num_row_groups) if edges[group] < end and start < edges[group + 1]]
        if start >= end:
            return file.schema_arrow.empty_table()
        first = edges[groups[0]]
        return file.read_row_groups(groups[:most], columns).slice(start - first, end - start)


def read(files: Sequence[Path], schema: pa.Schema) -> pa.Table:
    """The rows of files one after the other, with exactly the columns of a schema.

    Quicker than a dataset of them, whose library also loads pandas.

    Args:
        files: Any number of files of one table.
        schema: Columns to give: those that a file lacks are null, narrow ones are widened where it says so.

    Raises:
        FileNotFoundError: If a file is gone.
        StoreError: If a file is damaged.
    """
    if len(files) == 1:
        # To start a thread takes as long as a small file.
        return _read(files[0], schema)
    with ThreadPoolExecutor(_READERS) as readers:
        found = readers.map(partial(_read, schema=schema), files)
        # Not `empty_table`: it loads pandas.
        return pa.concat_tables([pa.Table.from_batches([], schema), *found])


def fitted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with exactly the columns of a schema."""
    here = set(rows.column_names)
    columns = [
        _widened(rows.column(field.name), field.type) if field.name in here else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    # In this thread alone: most files are small, and there are others.
    with _naming(path), pa.OSFile(str(path)) as source, pq.ParquetFile(source, pre_buffer=False) as file:
        return fitted(file.read(use_threads=False), schema)


def _widened(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    # To cast loads the compute functions, which most who read a store do without.
    return column if column.type == kind else column.cast(kind)


def narrowed(table: Table) -> pa.Schema:
    """The schema of a table whose columns take the fewest bytes that a file may use."""
    fields = zip(table.schema, table.columns, strict=True)
    return pa.schema([field.with_type(column.narrow or column.type) for field, column in fields])


def is_narrow(path: Path, table: Table) -> bool:
    """Whether every column that may be narrow is so in a file; false where none may."""
    found = [(column.name, column.narrow) for column in table.columns if column.narrow is not None]
    if not found:
        return False
    with _naming(path):
        schema = pq.read_schema(path)
    return all(schema.field(name).type == narrow for name, narrow in found)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        # Of some damage pyarrow speaks as of an error of the system, which has a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise StoreError(f"{path} cannot be read: {error}. Nothing was lost or changed.") from error


def models(metadata: Any) -> list[tuple[str, str] | None]:
    """Smallest and largest `model_id` of each row group of a file, as its statistics say."""
    found: list[tuple[str, str] | None] = []
    for group in range(metadata.num_row_groups):
        # pyarrow's statistics are freed with the objects that lead to them: these names keep them.
        rows = metadata.row_group(group)
        column = rows.column(0)
        known = column.statistics if column.path_in_schema == "model_id" else None
        found.append((known.min, known.max) if known is not None and known.has_min_max else None)
    return found


def _sorted(rows: pa.Table, table: Table) -> pa.Table:
    names = order(table)
    return rows.sort_by([(name, "ascending") for name in names]) if names else rows


def _in_order(file: Any, table: Table) -> bool:
    names = order(table)
    if not names or (file.schema_arrow.metadata or {}).get(_ORDER, b"").decode() == ",".join(names):
        return True
    # Before there was such a note, the rows of a file were sorted, but not by model.
    if names[0] != "model_id":
        return True
    ranges = models(file.metadata)
    return None not in ranges and len({model_id for ends in ranges if ends for model_id in ends}) <= 1


def _codecs(schema: pa.Schema) -> dict[str, str]:
    """Texts and pictures get much smaller; numbers hardly do, and what is quick to read is better for them."""
    return {_leaf(field): "zstd" if _is_text(_values(field)) else "lz4" for field in schema}


def _leaf(field: pa.Field) -> str:
    """The column of a Parquet file that holds a field's values."""
    path, kind = str(field.name), field.type
    while pa.types.is_list(kind):
        path, kind = f"{path}.list.element", kind.value_type
    return path


def _with_dictionary(schema: pa.Schema) -> list[str]:
    """Columns whose values repeat: texts, labels and flags, but neither measured numbers nor lists of any."""
    return [_leaf(field) for field in schema if _is_text(_values(field)) or not _is_measured(field.type)]


def _values(field: pa.Field) -> pa.DataType:
    kind = field.type
    while pa.types.is_list(kind):
        kind = kind.value_type
    return kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _is_measured(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_list(kind))
