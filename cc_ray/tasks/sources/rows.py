"""Reads files into rows: Parquet, CSV, numpy's npz, and folders of images, one folder a class.

    Parquet, CSV    a column as it is; an image of Parquet is its encoded bytes, as on the Hugging Face hub
    npz             an array of one axis is a column, one of more axes belongs to the rows by its first
    folder          columns `image`, a file, and `label`, the folder that it lies in

    JSON, text      as in `documents`

Of a folder with Parquet, CSV or npz files only these are read; JSON and text lie beside images as notes.

Files are data: no pickle is read, and a path that a file names leads nowhere outside the folder it lies in.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.sources.documents import json_lines_table, json_table, text_table
from cc_ray.tasks.sources.files import Files, located

IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


@dataclass(frozen=True)
class Rows:
    """Instances as their files have them, in the order of these."""

    columns: pa.Table
    """What is known of each; n rows."""
    arrays: Mapping[str, NDArray[Any]]
    """Arrays of more than one axis, each (n, ...)."""
    root: Path
    """Files that a column names lie below it."""

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    @classmethod
    def read(cls, address: str) -> Rows:
        """Read all files of an address, which are of one kind.

        Raises:
            InvalidRecipeError: If they cannot be read, or are of different kinds.
        """
        files = located(address)
        kinds = _kinds(files)
        try:
            if len(kinds) > 1:
                raise ValueError(f"it holds files of the kinds {', '.join(kinds)}; give those of one kind")
            return _READERS[kinds[0]](_of_kind(files, kinds[0])) if kinds else _class_folders(files)
        except (OSError, ValueError, pa.ArrowException, zipfile.BadZipFile) as error:
            said = " ".join(str(error).split())
            raise InvalidRecipeError(f"'{address}' cannot be read: {said}") from error

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Rows of several sources one after the other.

        Raises:
            InvalidRecipeError: If they have different columns.
        """
        if len(parts) == 1:
            return parts[0]
        try:
            columns = pa.concat_tables([part.columns for part in parts], promote_options="permissive")
            arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}
        except (pa.ArrowException, KeyError, ValueError) as error:
            raise InvalidRecipeError(f"the sources of the splits do not fit together: {error}") from error
        return cls(columns.replace_schema_metadata(parts[0].columns.schema.metadata), arrays, parts[0].root)

    def without(self, name: str) -> Rows:
        """All but one column or array, which may be large."""
        columns = self.columns.drop_columns([name]) if name in self.columns.column_names else self.columns
        return Rows(columns, {key: array for key, array in self.arrays.items() if key != name}, self.root)

    def at(self, places: NDArray[np.int64]) -> Rows:
        """The rows at some places, in their order."""
        arrays = {name: array[places] for name, array in self.arrays.items()}
        return Rows(self.columns.take(pa.array(places)), arrays, self.root)

    def column(self, name: str) -> pa.ChunkedArray:
        """One column.

        Raises:
            InvalidRecipeError: If there is none of that name.
        """
        if name not in self.columns.column_names:
            there = ", ".join([*self.columns.column_names, *self.arrays]) or "none"
            raise InvalidRecipeError(f"the data has no column '{name}'; there are: {there}.")
        return self.columns[name]


def class_labels(rows: Rows, column: str, names: Sequence[str] = ()) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels as indices of classes, and the names of these.

    Args:
        rows: The instances.
        column: Text or whole numbers. Whole numbers are the indices themselves.
        names: The classes in the order of their indices; if left out those that the file names (as data sets of the
            hub do), else the different texts in order, or the numbers themselves.

    Raises:
        InvalidRecipeError: If a label is missing, or no class.
    """
    labels = rows.column(column)
    if labels.null_count:
        raise InvalidRecipeError(f"column '{column}' lacks {labels.null_count} labels: leave these rows out.")
    known = tuple(names) or _named_by_file(rows.columns.schema, column)
    if pa.types.is_integer(labels.type):
        found: NDArray[np.int64] = labels.to_numpy().astype(np.int64)
        known = known or tuple(map(str, range(int(found.max(initial=-1)) + 1)))
        if len(found) and not 0 <= found.min() <= found.max() < len(known):
            raise InvalidRecipeError(
                f"column '{column}' has labels from {found.min()} to {found.max()}; {len(known)} classes are known."
            )
        return found, known
    texts = pc.cast(labels, pa.string())
    known = known or tuple(sorted(pc.unique(texts).to_pylist()))
    places = pc.index_in(texts, pa.array(known, pa.string()))
    if places.null_count:
        strange = texts.filter(pc.is_null(places))[0].as_py()
        raise InvalidRecipeError(
            f"column '{column}' has the label '{strange}', none of the classes {', '.join(known)}."
        )
    return places.to_numpy().astype(np.int64), known


def _named_by_file(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """Class names that the Hugging Face hub keeps in a Parquet file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[column]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()


def _kinds(files: Files) -> list[str]:
    """Suffixes of the files that are read as tables; none of a folder of images."""
    suffixes = {path.suffix.lower() for path in files.paths}
    tables = suffixes & _READERS.keys() - _TEXTS
    return sorted(tables or (suffixes & _TEXTS if not suffixes & IMAGE_SUFFIXES else set()))


def _of_kind(files: Files, suffix: str) -> Files:
    return Files(files.root, tuple(path for path in files.paths if path.suffix.lower() == suffix))


def _parquet(files: Files) -> Rows:
    return _table([pq.read_table(path, partitioning=None) for path in files.paths], files.root)


def _csv(files: Files) -> Rows:
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    return _table([pyarrow.csv.read_csv(path, parse_options=options) for path in files.paths], files.root)


def _table(parts: Sequence[pa.Table], root: Path) -> Rows:
    table = pa.concat_tables(parts, promote_options="permissive")
    columns = [_plain(column) for column in table.columns]
    return Rows(pa.table(dict(zip(table.column_names, columns, strict=True)), metadata=table.schema.metadata), {}, root)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _npz(files: Files) -> Rows:
    parts = []
    for path in files.paths:
        with np.load(path, allow_pickle=False) as held:
            parts.append(_arrays({name: held[name] for name in held.files}, path))
    return Rows.joined(parts)


def _arrays(arrays: Mapping[str, NDArray[Any]], path: Path) -> Rows:
    lengths = {array.shape[:1] for array in arrays.values()}
    if len(lengths) != 1 or () in lengths:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no arrays"
        raise ValueError(f"{path.name} holds {shapes}; the first axis of all must be the instances")
    flat = {name: pa.array(array) for name, array in arrays.items() if array.ndim == 1}
    rest = {name: array for name, array in arrays.items() if array.ndim > 1}
    (((length,)),) = lengths
    return Rows(pa.table(flat) if flat else pa.table({"instance": pa.array(range(length))}), rest, path.parent)


def _class_folders(files: Files) -> Rows:
    images = [path for path in files.paths if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images or any(path.parent == files.root for path in images):
        kinds = ", ".join(sorted({path.suffix or path.name for path in files.paths})[:10])
        raise ValueError(
            f"it holds files of the kinds {kinds}; allowed: {', '.join(_READERS)}, or a folder with a folder of images "
            "for each class"
        )
    names = [path.relative_to(files.root).parts[0] for path in images]
    return Rows(
        pa.table({"image": [path.relative_to(files.root).as_posix() for path in images], "label": names}),
        {},
        files.root,
    )


def _each(read: Callable[[Path], pa.Table]) -> Callable[[Files], Rows]:
    return lambda files: _table([read(path) for path in files.paths], files.root)


_TEXTS: Final = frozenset({".json", ".jsonl", ".txt"})
_READERS: Final[Mapping[str, Callable[[Files], Rows]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".npz": _npz,
    ".json": _each(json_table),
    ".jsonl": _each(json_lines_table),
    ".txt": _each(text_table),
}
