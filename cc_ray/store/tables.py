"""The tables of a store: publish a batch of rows whole, read all that is published.

Contract, whatever happens:

- A **batch** is the rows of one event (a step's model with all that was measured of it, a trial's change of state) over
  the tables that `schema.BATCHES` lists for its kind. It is written beside, synced, and made visible by one rename: a
  reader sees all of a batch or nothing of it, also when the writer is killed at any point.
- A batch has a key and is written once. Of two writers of one key the first to publish wins; the other is told so and
  its rows are discarded. Batches are never changed.
- Rows that do not fit the table's contract are refused before anything is written.
- A store that a newer program wrote is refused with a clear error; older ones are read.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from cc_ray.errors import SchemaMismatchError, StoreError
from cc_ray.recipe import identity
from cc_ray.schema import BATCHES, SCHEMA_VERSION, TABLES, Table
from cc_ray.store.layout import Layout, sync_folder

Rows: TypeAlias = pa.Table | list[dict[str, Any]]
"""Rows of one table: an Arrow table with its columns, or plain dictionaries."""


class Store:
    """One store folder, open for reading and writing.

    Safe to use from any number of processes at once. Holds no open files; pickles as its path.

    Args:
        root: The folder.
        create: Make the folder a store if it is not one yet.

    Raises:
        StoreError: If the folder is not a store (and `create` is false), or a newer program wrote it.
    """

    def __init__(self, root: Path | str, *, create: bool = False) -> None:
        self.layout = Layout(Path(root).expanduser().absolute())
        if create and not os.path.exists(self.layout.marker):
            self._create()
        self._check_version()

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (str(self.layout.root),)

    def __repr__(self) -> str:
        return f"Store({str(self.layout.root)!r})"

    @property
    def root(self) -> Path:
        """The store's folder."""
        return self.layout.root

    def has(self, kind: str, key: str) -> bool:
        """Whether the batch is published."""
        return self.layout.batch(kind, key).exists()

    def keys(self, kind: str) -> list[str]:
        """Keys of all published batches of one kind, sorted."""
        folder = self.layout.batches(kind)
        # What a file manager or a shared file system leaves there is no batch.
        return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if folder.exists() else []

    def publish(self, kind: str, key: str, rows: Mapping[str, Rows]) -> bool:
        """Make a batch visible, whole or not at all.

        Args:
            kind: One of `schema.BATCHES`.
            key: Identity of the batch within its kind.
            rows: Rows by table name. Tables of the kind that are left out get no rows.

        Returns:
            True if this call published it; False if it was there already and these rows were discarded.

        Raises:
            SchemaMismatchError: If a table does not belong to the kind or a column does not fit.
            StoreError: If the disk refuses.
        """
        target = self.layout.batch(kind, key)
        tables = {table.name: conform(table, rows.get(table.name, [])) for table in BATCHES[kind]}
        for name in rows:
            if name not in tables:
                raise SchemaMismatchError(name, "-", f"one of {', '.join(tables)} in a '{kind}' batch", name)
        if target.exists():
            return False
        partial = self.layout.partial / uuid.uuid4().hex
        try:
            partial.mkdir(parents=True)
            for name, table in tables.items():
                _write(table, partial / f"{name}.parquet")
            sync_folder(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            return _rename_unless_there(partial, target)
        except OSError as error:
            raise StoreError(f"cannot write to the store {self.root}: {error}. Nothing was published.") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def files(self, table: str) -> list[Path]:
        """Published Parquet files of one table, in order of kind and key."""
        return list(self._files(TABLES[table]))

    def read(self, table: str, *, keys: Mapping[str, str] | None = None) -> pa.Table:
        """All published rows of one table, or those of the named batches only.

        Args:
            table: Name of the table.
            keys: Key by kind of batch; without it every batch that holds the table.
        """
        spec = TABLES[table]
        if keys is None:
            files = self.files(table)
        else:
            wanted = (self.layout.batch(kind, key) / f"{table}.parquet" for kind, key in keys.items())
            files = [file for file in wanted if file.exists()]
        parts = [conform(spec, pq.read_table(file, partitioning=None)) for file in files]
        return pa.concat_tables(parts) if parts else spec.schema.empty_table()

    def snapshot(self) -> dict[str, list[Path]]:
        """Published Parquet files of every table, listed together: no batch is in one table and not in another."""
        keys = {kind: self.keys(kind) for kind in BATCHES}
        return {
            name: [
                self.layout.batches(kind) / key / f"{name}.parquet"
                for kind, tables in BATCHES.items()
                if table in tables
                for key in keys[kind]
            ]
            for name, table in TABLES.items()
        }

    def version(self) -> str:
        """A text that changes whenever a batch is published; cheap to ask."""
        # The count tells apart what falls within one tick of the file system's clock.
        folders = [self.layout.batches(kind) for kind in BATCHES]
        stamps = [(folder.stat().st_mtime_ns, len(os.listdir(folder))) if folder.exists() else 0 for folder in folders]
        return identity(stamps)

    def sweep(self, *, older_than_s: float = 86_400.0) -> int:
        """Remove what killed writers left half-written; returns how many pieces.

        Args:
            older_than_s: Younger pieces may still be in work and stay, in seconds.
        """
        removed = 0
        for piece in self.layout.partial.glob("*"):
            # Another process may publish its piece at any moment.
            with suppress(FileNotFoundError):
                if time.time() - piece.stat().st_mtime > older_than_s:
                    shutil.rmtree(piece, ignore_errors=True) if piece.is_dir() else piece.unlink()
                    removed += 1
        return removed

    def _files(self, table: Table) -> Iterator[Path]:
        for kind, tables in BATCHES.items():
            if table in tables:
                folder = self.layout.batches(kind)
                for key in self.keys(kind):
                    yield folder / key / f"{table.name}.parquet"

    def _create(self) -> None:
        try:
            self.layout.partial.mkdir(parents=True, exist_ok=True)
            partial = self.layout.partial / uuid.uuid4().hex
            partial.write_text(json.dumps({"format": "cc-ray store", "schema_version": SCHEMA_VERSION}))
            os.replace(partial, self.layout.marker)
        except OSError as error:
            raise StoreError(f"cannot create a store at {self.root}: {error}. Choose another --store.") from error

    def _check_version(self) -> None:
        try:
            found = json.loads(self.layout.marker.read_text())["schema_version"]
        except FileNotFoundError:
            raise StoreError(
                f"{self.root} is not a CC-Ray store. Make one with `cc-ray demo` or `cc-ray run`, or name another "
                "with --store or CC_RAY_STORE."
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.layout.marker} cannot be read: {error}.") from error
        if not isinstance(found, int) or found > SCHEMA_VERSION:
            raise StoreError(
                f"{self.root} has schema version {found}; this program reads up to {SCHEMA_VERSION}. Upgrade cc-ray."
            )


def conform(table: Table, rows: Rows) -> pa.Table:
    """Give rows their table's schema, or say which column does not fit.

    Raises:
        SchemaMismatchError: On an unknown column, a value of another type, or a null where none may be.
    """
    schema = table.schema
    found = rows if isinstance(rows, pa.Table) else _from_rows(table, rows)
    for name in found.column_names:
        if name not in schema.names:
            raise SchemaMismatchError(table.name, name, f"one of {', '.join(schema.names)}", "an unknown column")
    return pa.table([_column(table.name, found, field) for field in schema], schema=schema)


def _from_rows(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    types = {column.name: column.type for column in table.columns}
    arrays = {}
    for name in dict.fromkeys([*types, *(name for row in rows for name in row)]):
        try:
            arrays[name] = pa.array([row.get(name) for row in rows], types.get(name))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise SchemaMismatchError(table.name, name, str(types.get(name)), str(error)) from error
    return pa.table(arrays)


def _column(table: str, found: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in found.column_names:
        if field.nullable:
            return pa.chunked_array([pa.nulls(found.num_rows, field.type)])
        raise SchemaMismatchError(table, field.name, str(field.type), "no such column")
    column = found.column(field.name)
    try:
        column = column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaMismatchError(table, field.name, str(field.type), f"{column.type} ({error})") from error
    if column.null_count and not field.nullable:
        raise SchemaMismatchError(table, field.name, "a value in every row", f"{column.null_count} nulls")
    return column


def _write(table: pa.Table, path: Path) -> None:
    order = TABLES[table.schema.metadata[b"table"].decode()].sort_by
    if order:
        table = table.sort_by([(name, "ascending") for name in order])
    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd", row_group_size=131_072)
        file.flush()
        os.fsync(file.fileno())


def _rename_unless_there(partial: Path, target: Path) -> bool:
    try:
        partial.rename(target)
    except OSError:
        if target.exists():
            return False
        raise
    sync_folder(target.parent)
    return True
