"""Large tables as pyarrow datasets: rows that stay in their files until a question reads them.

Imported where a question needs such a table, because `pyarrow.dataset` loads pandas, which takes longer than most
answers do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.fs as pafs

from cc_ray.schema import TABLES


def rows_in_files(table: str, files: Sequence[Path]) -> ds.Dataset:
    """The rows of a large table; whether its files are there is seen when they are read."""
    return _dataset(table, files, pafs.LocalFileSystem())


def brought_late(table: str, files: Sequence[Path], bring: Callable[[Path], None]) -> ds.Dataset:
    """The rows of a large table for pyarrow alone: a file is brought when it is read."""
    return _dataset(table, files, pafs.PyFileSystem(_Late(bring)))


def _dataset(table: str, files: Sequence[Path], filesystem: pafs.FileSystem) -> ds.Dataset:
    paths = [str(file) for file in files]
    return ds.FileSystemDataset.from_paths(paths, TABLES[table].schema, ds.ParquetFileFormat(), filesystem=filesystem)


class _Late(pafs.FSSpecHandler):  # type: ignore[misc]
    def __init__(self, bring: Callable[[Path], None]) -> None:
        # Of what this class can do, pyarrow asks of named files that they are opened, and no more.
        super().__init__(None)
        self._bring = bring

    def get_type_name(self) -> str:
        return "late"

    def open_input_file(self, path: str) -> Any:
        self._bring(Path(path))
        return pafs.LocalFileSystem().open_input_file(path)
