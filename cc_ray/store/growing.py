"""A batch that is written while its rows still come, in a folder that nobody sees before it is published."""

from __future__ import annotations

import io
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa

from cc_ray.errors import StoreUnavailableError
from cc_ray.store.layout import Layout
from cc_ray.store.parquet import Writer, table_of
from cc_ray.store.patience import patiently


class Growing:
    """The folder of one batch, and those of its tables that come piece by piece; the context's end removes it.

    No file is held open. What fills a row group is appended and synced at once: where the store is away that waits, and
    then goes on where it was. One thread at a time may use it.

    Args:
        layout: Paths of the store.
        name: What a user calls the store.
    """

    def __init__(self, layout: Layout, name: Path | str) -> None:
        self.folder = layout.partial / uuid.uuid4().hex
        self._layout = layout
        self._name = name
        self._files: dict[str, _File] = {}

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def tables(self) -> Collection[str]:
        """Names of the tables that have rows here already."""
        return self._files.keys()

    def add(self, rows: pa.Table) -> None:
        """Write further rows of a table; all that are added to it stand in the order that `parquet.order` names.

        Args:
            rows: As `tables.conform` gives them, each time with the same types.

        Raises:
            StoreUnavailableError: If the store stays away, or the disk refuses.
        """
        table = table_of(rows.schema)
        with refusals_named(self._name):
            if table.name not in self._files:
                self._files[table.name] = _File(self._layout, self.folder / f"{table.name}.parquet", rows.schema)
            self._files[table.name].add(rows)

    def finish(self) -> None:
        """Write what is left of each table.

        Raises:
            StoreUnavailableError: As `add`.
        """
        with refusals_named(self._name):
            for file in self._files.values():
                file.finish()

    def make(self) -> None:
        """Make the folder, unless rows are in it.

        Raises:
            OSError: If the store is away, or the disk refuses.
        """
        if not self._files:
            self._layout.make(self.folder)


@contextmanager
def refusals_named(name: Path | str) -> Iterator[None]:
    """Say what to do where a disk refuses to take a batch."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailableError(
            f"cannot write to the store {name}: {error}. Nothing was published. Mend that and run the same command "
            "again: it goes on from there."
        ) from error


class _File:
    """One table's file."""

    def __init__(self, layout: Layout, path: Path, schema: pa.Schema) -> None:
        self._layout = layout
        self._path = path
        self._length = 0
        """Bytes that are on the disk."""
        self._encoded = io.BytesIO()
        """Bytes that are not yet."""
        self._writer = Writer(self._encoded, table_of(schema), schema)

    def add(self, rows: pa.Table) -> None:
        self._writer.add([rows])
        self._append()

    def finish(self) -> None:
        self._writer.close()
        self._append()

    def _append(self) -> None:
        if self._encoded.tell():
            self._length = patiently(self._layout, partial(self._write, self._encoded.getvalue()))
            self._encoded.seek(0)
            self._encoded.truncate()

    def _write(self, encoded: bytes) -> int:
        self._layout.check_there()
        if not self._length:
            self._layout.make(self._path.parent)
        with self._path.open("r+b" if self._length else "wb") as file:
            file.seek(self._length)
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
        return self._length + len(encoded)
