"""The tables of a store: publish a batch of rows whole, read all that is published.

Contract, whatever happens:

- A **batch** is the rows of one event (a step's model with all that was measured of it, a trial's change of state) over
  the tables that `schema.BATCHES` lists for its kind. It is written beside, synced, and made visible by one rename: a
  reader sees all of a batch or nothing of it, also when the writer is killed at any point.
- A batch has a key and is written once. Of two writers of one key the first to publish wins; the other is told so and
  its rows are discarded. Batches are never changed.
- Rows that do not fit the table's contract are refused before anything is written.
- A store that is away for a while is waited for (`patience.py`), and never taken for an empty one.
- A store that a newer program wrote is refused with a clear error; older ones are read, and become stores of this
  version with the first batch that is published.
- Where a batch's rows are, in a file of its own or in a segment with many others, makes no difference to any answer
  (`compaction.py` moves them, `README.md` tells how).
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.dataset as ds

from cc_ray.errors import SchemaMismatchError, StoreError, StoreUnavailableError
from cc_ray.recipe import identity
from cc_ray.schema import BATCHES, SCHEMA_VERSION, TABLES, Column, Table
from cc_ray.store.layout import Layout, sync_folder
from cc_ray.store.parquet import write
from cc_ray.store.patience import check_there, patiently, unless_absent
from cc_ray.store.segments import Manifest, index, read_batch, read_manifest, replace_file

T = TypeVar("T")

_MARK: Final = {"format": "cc-ray store", "schema_version": SCHEMA_VERSION}

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
        self._version = self._check_version()

    @classmethod
    def known(cls, root: Path | str) -> Store:
        """Open a folder that is known to be a store: where it is none now, it is away and is waited for.

        Raises:
            StoreUnavailableError: If it stays away.
        """
        layout = Layout(Path(root))
        patiently(layout, partial(check_there, layout))
        return cls(root)

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
        return unless_absent(self.layout, partial(_is_there, self.layout.batch(kind, key)), False)

    def keys(self, kind: str) -> list[str]:
        """Keys of all published batches of one kind, sorted."""
        names: Iterable[str] = unless_absent(self.layout, partial(os.listdir, self.layout.batches(kind)), ())
        # What a file manager or a shared file system leaves there is no batch.
        return sorted(name for name in names if not name.startswith("."))

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
            StoreUnavailableError: If the store stays away, or the disk refuses.
        """
        tables = {table.name: conform(table, rows.get(table.name, [])) for table in BATCHES[kind]}
        for name in rows:
            if name not in tables:
                raise SchemaMismatchError(name, "-", f"one of {', '.join(tables)} in a '{kind}' batch", name)
        if self.has(kind, key):
            return False
        target = self.layout.batch(kind, key)
        try:
            published = patiently(self.layout, partial(self._publish, target, tables))
            if published:
                # By itself: what is renamed is published, even where the store goes away at that moment.
                patiently(self.layout, partial(sync_folder, target.parent))
            return published
        except OSError as error:
            raise StoreUnavailableError(
                f"cannot write to the store {self.root}: {error}. Nothing was published. Mend that and run the same "
                "command again: it goes on from there."
            ) from error

    def lift(self) -> None:
        """Mark the store as one of this program's version, so that an older program refuses it.

        Raises:
            StoreError: If a newer program has lifted it higher meanwhile.
        """
        if self._version < SCHEMA_VERSION and self._check_version() < SCHEMA_VERSION:
            replace_file(self.layout, self.layout.marker, _MARK)
        self._version = SCHEMA_VERSION

    def files(self, table: str) -> list[Path]:
        """Parquet files that together hold the rows of one table, each row once."""
        return self.steadily(lambda: self._listed([table])[table])

    def read(self, table: str, *, keys: Mapping[str, str] | None = None) -> pa.Table:
        """All published rows of one table, or those of the named batches only.

        Args:
            table: Name of the table.
            keys: Key by kind of batch; without it every batch that holds the table.
        """
        spec = TABLES[table]
        if keys is None:
            return self.steadily(lambda: _read(spec, self._listed([table])[table]))
        found = (self.steadily(partial(self._batch, spec, kind, key)) for kind, key in keys.items())
        return pa.concat_tables([spec.schema.empty_table(), *found])

    def size_bytes(self, kind: str, key: str) -> int:
        """Bytes on disk of a batch's tables as it was published; 0 if it is not there."""
        return self.steadily(lambda: self._batch_bytes(kind, key))

    def snapshot(self) -> dict[str, list[Path]]:
        """Parquet files of every table, listed together: no batch is in one table and not in another, none twice."""
        return self.steadily(lambda: self._listed(TABLES))

    def loose(self, kind: str) -> list[str]:
        """Keys of the published batches of one kind that no segment holds, sorted."""
        return self.steadily(lambda: self._loose(kind, read_manifest(self.layout)))

    def steadily(self, read: Callable[[], T]) -> T:
        """Read files of the store, and begin again if a compaction has removed one of them meanwhile.

        Args:
            read: Lists files and reads them.

        Raises:
            StoreError: If a file is missing that should be there.
        """
        while True:
            before = self.arrangement()
            try:
                return patiently(self.layout, read)
            except FileNotFoundError as error:
                if self.arrangement() == before:
                    raise StoreError(f"a file of the store {self.root} is missing: {error}") from error

    def arrangement(self) -> str:
        """A text that changes whenever rows move to other files; cheap to ask."""
        found = unless_absent(self.layout, self.layout.manifest.stat, None)
        return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}" if found else ""

    def version(self) -> str:
        """A text that changes whenever a batch is published; cheap to ask."""
        # The count tells apart what falls within one tick of the file system's clock.
        stamps = (partial(_stamp, self.layout.batches(kind)) for kind in BATCHES)
        return identity([unless_absent(self.layout, stamp, 0) for stamp in stamps])

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

    def _publish(self, target: Path, tables: Mapping[str, pa.Table]) -> bool:
        check_there(self.layout)
        growing = self.layout.partial / uuid.uuid4().hex
        try:
            self.lift()
            self.layout.make(growing)
            for name, table in tables.items():
                write(table, growing / f"{name}.parquet")
            sync_folder(growing)
            self.layout.make(target.parent)
            # Below a mount that was lost meanwhile is a folder of this machine.
            check_there(self.layout)
            return _rename_unless_there(growing, target)
        finally:
            shutil.rmtree(growing, ignore_errors=True)

    def _listed(self, names: Iterable[str]) -> dict[str, list[Path]]:
        # The segments first: what is compacted after this moment still has files of its own for a while.
        manifest = read_manifest(self.layout)
        files: dict[str, list[Path]] = {name: [] for name in names}
        for kind, tables in BATCHES.items():
            here = [table.name for table in tables if table.name in files]
            if here:
                folders = [self.layout.segment(kind, segment.id) for segment in manifest.of(kind)]
                folders += [self.layout.batches(kind) / key for key in self._loose(kind, manifest)]
                for name in here:
                    files[name] += [folder / f"{name}.parquet" for folder in folders]
        return files

    def _loose(self, kind: str, manifest: Manifest) -> list[str]:
        covered = [index(self.layout, segment).positions for segment in manifest.of(kind)]
        return [key for key in self.keys(kind) if not any(key in keys for keys in covered)]

    def _batch(self, table: Table, kind: str, key: str) -> pa.Table:
        manifest = read_manifest(self.layout)
        for segment in manifest.of(kind):
            if key in index(self.layout, segment).positions:
                return read_batch(self.layout, segment, table, key)
        there = self.has(kind, key) and table in BATCHES[kind]
        return _read(table, [self.layout.batch(kind, key) / f"{table.name}.parquet"] if there else [])

    def _batch_bytes(self, kind: str, key: str) -> int:
        for segment in read_manifest(self.layout).of(kind):
            found = index(self.layout, segment)
            if key in found.positions:
                return found.sizes_bytes[found.positions[key]]
        folder = self.layout.batch(kind, key)
        files = [folder / f"{table.name}.parquet" for table in BATCHES[kind]] if folder.exists() else []
        return sum(file.stat().st_size for file in files)

    def _create(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            replace_file(self.layout, self.layout.marker, _MARK)
        except OSError as error:
            raise StoreError(f"cannot create a store at {self.root}: {error}. Choose another --store.") from error

    def _check_version(self) -> int:
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
        return found


def _is_there(path: Path) -> bool:
    os.stat(path)
    return True


def _stamp(folder: Path) -> tuple[int, int]:
    return os.stat(folder).st_mtime_ns, len(os.listdir(folder))


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
    columns = [_column(table.name, found, column, schema.field(column.name)) for column in table.columns]
    fields = [field.with_type(column.type) for field, column in zip(schema, columns, strict=True)]
    return pa.table(columns, schema=pa.schema(fields, schema.metadata))


def _from_rows(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    types = {column.name: column.type for column in table.columns}
    arrays = {}
    for name in dict.fromkeys([*types, *(name for row in rows for name in row)]):
        try:
            arrays[name] = pa.array([row.get(name) for row in rows], types.get(name))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise SchemaMismatchError(table.name, name, str(types.get(name)), str(error)) from error
    return pa.table(arrays)


def _column(table: str, found: pa.Table, spec: Column, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in found.column_names:
        if field.nullable:
            return pa.chunked_array([pa.nulls(found.num_rows, field.type)])
        raise SchemaMismatchError(table, field.name, str(field.type), "no such column")
    column = found.column(field.name)
    try:
        column = column.cast(spec.narrow if _is_narrow(column.type, spec) else field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaMismatchError(table, field.name, str(field.type), f"{column.type} ({error})") from error
    if column.null_count and not field.nullable:
        raise SchemaMismatchError(table, field.name, "a value in every row", f"{column.null_count} nulls")
    return column


def _read(table: Table, files: list[Path]) -> pa.Table:
    if not files:
        return table.schema.empty_table()
    # A dataset gives every file the schema of today: columns that it lacks are null, narrow ones widened.
    return ds.dataset([str(file) for file in files], schema=table.schema, format="parquet").to_table()


def _is_narrow(kind: pa.DataType, spec: Column) -> bool:
    """Whether values are as narrow as the column may hold them, whatever their list is called."""
    return spec.narrow is not None and pa.types.is_list(kind) and kind.value_type == spec.narrow.value_type


def _rename_unless_there(growing: Path, target: Path) -> bool:
    try:
        growing.rename(target)
    except OSError:
        if target.exists():
            return False
        raise
    return True
