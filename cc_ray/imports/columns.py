"""Columns of a file of predictions, whatever its kind; nothing in a file is executed.

| kind | holds |
|---|---|
| `.parquet`, `.csv` | named columns |
| `.jsonl` | an object a line, all of the same names |
| `.npz` | named arrays: `prediction`, `probabilities`, `label`, ... |
| `.npy` | predicted classes, (n,), or class scores, (n, classes) |
| `.json` | a list of predicted classes or of rows of class scores, or an object of named lists |

A file that says or turns out to be larger than `MOST_BYTES` is refused while it is read.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.json as lines
import pyarrow.parquet as pq

from cc_ray.imports.reading import ResultFileError

MOST_BYTES: Final = 2 * 2**30
"""Bytes that the columns of one file may take in memory."""

Columns = dict[str, Any]
"""Arrays by name: numpy arrays, the class scores (n, classes), lists of texts, lists of lists of texts or numbers."""
UNEVEN: Final = frozenset({"token_losses"})
"""Columns whose rows are lists of numbers of any lengths; of all others rows are of one length."""


def read_columns(file: Path, may_be_empty: Collection[str] = ()) -> Columns:
    """Read a file's columns, as long as each other.

    Args:
        file: The file.
        may_be_empty: Columns of texts in which a missing value is an empty text; elsewhere it is a fault.

    Raises:
        ResultFileError: If the file is of no kind above, damaged, ragged or too large.
    """
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise ResultFileError(f"{file.name}: a file of {', '.join(_READERS)} is expected.")
    try:
        columns = reader(file, may_be_empty)
    except ResultFileError:
        raise
    except OSError as error:
        raise ResultFileError(f"{file.name} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, EOFError, RecursionError, zipfile.BadZipFile, pa.ArrowException) as error:
        raise ResultFileError(f"{file.name} cannot be read: {_first_line(error)}.") from error
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ResultFileError(f"{file.name}: the columns are of different lengths: {lengths}.")
    if not lengths or not min(lengths.values()):
        raise ResultFileError(f"{file.name} holds no rows.")
    return columns


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _refuse_size(file: Path, size: int) -> None:
    if size > MOST_BYTES:
        raise ResultFileError(
            f"{file.name} takes more than {MOST_BYTES / 2**30:.0f} GiB in memory: split it, or leave the probabilities "
            "out."
        )


def _parquet(file: Path, may_be_empty: Collection[str]) -> Columns:
    with pq.ParquetFile(file) as opened:
        return _arrow(file, opened.iter_batches(batch_size=8192), opened.schema_arrow, may_be_empty)


def _csv(file: Path, may_be_empty: Collection[str]) -> Columns:
    # Types are taken from the whole column later: a first block of 0 and 1 says nothing about the next.
    with csv.open_csv(file) as opened:
        names = opened.schema.names
    if len(set(names)) < len(names):
        raise ResultFileError(f"{file.name}: two columns have one name: {', '.join(names)}.")
    types = dict.fromkeys(names, pa.string())
    texts = csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""])
    with csv.open_csv(file, convert_options=texts) as opened:
        return _arrow(file, opened, opened.schema, may_be_empty)


def _jsonl(file: Path, may_be_empty: Collection[str]) -> Columns:
    with lines.open_json(file) as opened:
        return _arrow(file, opened, opened.schema, may_be_empty)


def _arrow(file: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, may_be_empty: Collection[str]) -> Columns:
    kept, size = [], 0
    for batch in batches:
        size += batch.nbytes
        _refuse_size(file, size)
        kept.append(batch)
    table = pa.Table.from_batches(kept, schema)
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    for name in may_be_empty:
        if name in columns and pa.types.is_string(columns[name].type):
            columns[name] = columns[name].fill_null("")
    return {name: _plain(file, name, column) for name, column in columns.items()}


def _plain(file: Path, name: str, column: Any) -> Any:
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        place = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise ResultFileError(f"{file.name}: column '{name}' has no value in row {place}, counted from 0.")
    if _is_list(column.type) and (pa.types.is_string(held := column.type.value_type) or pa.types.is_large_string(held)):
        if column.flatten().null_count:
            raise ResultFileError(f"{file.name}: '{name}' must hold lists of texts without gaps.")
        return [[str(text) for text in texts] for texts in column.to_pylist()]
    if _is_list(column.type) and name in UNEVEN:
        return _uneven(file.name, name, column.to_pylist())
    if _is_list(column.type):
        lengths = np.unique(np.asarray(column.value_lengths()))
        if lengths.size > 1:
            raise ResultFileError(f"{file.name}: rows of '{name}' are of {lengths[0]} to {lengths[-1]} values.")
        flat = column.flatten()
        if flat.null_count or not (pa.types.is_floating(flat.type) or pa.types.is_integer(flat.type)):
            raise ResultFileError(f"{file.name}: '{name}' must hold lists of numbers without gaps.")
        return np.asarray(flat).reshape(len(column), -1)
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        return column.to_numpy(zero_copy_only=False)
    return [str(value) for value in column.to_pylist()]


def _uneven(what: str, name: str, values: Iterable[Any]) -> list[list[float]]:
    """Lists of numbers as they are, whatever their lengths."""
    try:
        return [[float(number) for number in numbers] for numbers in values]
    except (TypeError, ValueError) as error:
        raise ResultFileError(f"{what}: '{name}' must hold lists of numbers without gaps.") from error


def _is_list(type_: pa.DataType) -> bool:
    return isinstance(type_, pa.ListType | pa.LargeListType | pa.FixedSizeListType)


def _npy(file: Path, _: Collection[str]) -> Columns:
    # Mapped first: the header tells the size before anything is read.
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    _refuse_size(file, array.nbytes)
    return _named(file, np.array(array))


def _npz(file: Path, _: Collection[str]) -> Columns:
    with zipfile.ZipFile(file) as opened:
        _refuse_size(file, sum(info.file_size for info in opened.infolist()))
    with np.load(file, allow_pickle=False) as arrays:
        return {name: as_array(file.name, arrays[name]) for name in arrays.files}


def _json(file: Path, _: Collection[str]) -> Columns:
    # A number of JSON takes some ten times its length as an object.
    _refuse_size(file, 10 * file.stat().st_size)
    content = json.loads(file.read_text("utf-8-sig"))
    if isinstance(content, dict):
        return {name: as_column(name, values, file.name) for name, values in content.items()}
    return _named(file, content)


def _named(file: Path, values: Any) -> Columns:
    """Columns of a file that has no names."""
    array = as_array(file.name, values)
    return {"prediction" if np.ndim(array) == 1 else "probabilities": array}


def lists_of_texts(values: Any) -> list[list[str]] | None:
    """Lists of texts as they are, whatever their lengths; None for anything else."""
    if not isinstance(values, list | tuple) or not values:
        return None
    if not all(isinstance(row, list | tuple) and all(isinstance(text, str) for text in row) for row in values):
        return None
    return [list(row) for row in values]


def as_column(name: str, values: Any, what: str) -> Any:
    """A named column, as `as_array` or, where its rows may be of any lengths, as lists of numbers."""
    if name in UNEVEN and not (isinstance(values, list) and all(isinstance(row, str) for row in values)):
        return _uneven(what, name, values)
    return as_array(what, values)


def as_array(what: str, values: Any) -> Any:
    """One column as numbers or texts with one or two axes, or as lists of texts.

    Args:
        what: What the values are, for the error.
        values: An array, or nested lists.

    Raises:
        ResultFileError: If they are neither.
    """
    if (lists := lists_of_texts(values)) is not None:
        return lists
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ResultFileError(f"{what}: its rows are not of one length. Give every row as many values.") from error
    if array.ndim not in (1, 2) or array.dtype.kind not in "biufUT":
        raise ResultFileError(
            f"{what} must be numbers or texts with one or two axes, found {array.dtype} with {array.ndim} axes."
        )
    return [str(value) for value in array.tolist()] if array.dtype.kind in "UT" else array


_READERS: Final[Mapping[str, Callable[[Path, Collection[str]], Columns]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".npy": _npy,
    ".npz": _npz,
    ".json": _json,
}
