"""The tables of a store: publish a batch of rows whole, read all that is published.

Contract, whatever happens:

- A **batch** is the rows of one event (a step's model with all that was measured of it, a trial's change of state) over
  the tables that `schema.BATCHES` lists for its kind. It is written beside and made visible in one step, a rename or a
  conditional request: a reader sees all of a batch or nothing of it, also when the writer is killed at any point.
- A batch has a key and is written once. Of two writers of one key the first to publish wins; the other is told so and
  its rows are discarded. Batches are never changed.
- Rows that do not fit the table's contract are refused before anything is written.
- A store that a newer program wrote is refused with a clear error; older ones are read, and become stores of this
  version with the first batch that is published.
- Where a batch's rows are, in a file of its own or in a segment with many others, makes no difference to any answer
  (`compaction.py` moves them, `README.md` tells how). Nor does it where the store is, in a folder or in a bucket
  (`place.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pyarrow as pa

from cc_ray.errors import SchemaMismatchError, StoreError
from cc_ray.schema import BATCHES, SCHEMA_VERSION, TABLES, Column, Table
from cc_ray.store.address import url_of
from cc_ray.store.folder import Folder
from cc_ray.store.growing import Growing, refusals_named
from cc_ray.store.layout import Layout
from cc_ray.store.objects import Objects
from cc_ray.store.parquet import fitted, read, read_span, write
from cc_ray.store.patience import patiently
from cc_ray.store.place import Place
from cc_ray.store.segments import Manifest, index, read_manifest, span

T = TypeVar("T")

Rows: TypeAlias = pa.Table | list[dict[str, Any]]
"""Rows of one table: an Arrow table with its columns, or plain dictionaries."""


class Store:
    """One store, open for reading and writing.

    Safe to use from any number of processes at once. Holds no open files; pickles as its folder or URL.

    Args:
        root: The folder, or the URL of a part of a bucket: `s3://bucket/prefix`, `gs://...`, `az://...`.
        create: Make it a store if it is not one yet.

    Raises:
        StoreError: If it is not a store (and `create` is false), a newer program wrote it, or it cannot be reached.
    """

    def __init__(self, root: Path | str, *, create: bool = False) -> None:
        self.place = _place(root, create)
        self._version: int = self._mark()[0]["schema_version"]

    @staticmethod
    def is_begun(root: Path | str) -> bool:
        """Whether anything is there that could be a store.

        Raises:
            StoreError: If it cannot be reached.
        """
        url = url_of(root)
        return Objects(url).size_bytes("store.json") is not None if url else Path(root).expanduser().exists()

    @classmethod
    def known(cls, root: Path | str) -> Store:
        """Open what is known to be a store: where it is none now, it is away and is waited for.

        Raises:
            StoreUnavailableError: If it stays away.
        """
        if url_of(root) is None:
            layout = Layout(Path(root))
            patiently(layout, layout.check_there)
        return cls(root)

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (str(self.root),)

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    @property
    def root(self) -> Path | str:
        """The store's folder or URL, which opens it again."""
        return self.place.name

    @property
    def layout(self) -> Layout:
        """Where files of the store lie on this machine, or will lie."""
        return self.place.layout

    def has(self, kind: str, key: str) -> bool:
        """Whether the batch is published."""
        return self.place.has(kind, key)

    def keys(self, kind: str) -> list[str]:
        """Keys of all published batches of one kind, sorted."""
        return self.place.keys(kind)

    def grow(self) -> Growing:
        """Begin a batch whose rows come piece by piece; to be used as a context, in which it is published."""
        return Growing(self.layout, self.root)

    def publish(self, kind: str, key: str, rows: Mapping[str, Rows], growing: Growing | None = None) -> bool:
        """Make a batch visible, whole or not at all.

        Args:
            kind: One of `schema.BATCHES`.
            key: Identity of the batch within its kind.
            rows: Rows by table name. Tables of the kind that are left out get no rows.
            growing: Holds the rows of other tables, which were written as they came.

        Returns:
            True if this call published it; False if it was there already and these rows were discarded.

        Raises:
            SchemaMismatchError: If a table does not belong to the kind or a column does not fit.
            StoreUnavailableError: If the store stays away, or the disk or the object store refuses.
        """
        if growing is None:
            with self.grow() as growing:
                return self.publish(kind, key, rows, growing)
        left = _left(kind, growing.tables, rows)
        tables = {name: conform(table, rows.get(name, [])) for name, table in left.items()}
        growing.finish()
        with refusals_named(self.root):
            return patiently(self.layout, partial(self._publish, kind, key, tables, growing))

    def lift(self) -> None:
        """Mark the store as one of this program's version, so that an older program refuses it.

        Raises:
            StoreError: If a newer program has lifted it higher meanwhile.
        """
        while self._version < SCHEMA_VERSION:
            mark, tag = self._mark()
            self._version = mark["schema_version"]
            if self._version < SCHEMA_VERSION:
                self.place.replace(self.layout.marker, {**mark, "schema_version": SCHEMA_VERSION}, tag)

    def files(self, table: str) -> list[Path]:
        """Parquet files on this machine that together hold the rows of one table, each row once."""
        return self.snapshot([table])[table]

    def read(self, table: str, *, keys: Mapping[str, str] | None = None) -> pa.Table:
        """All published rows of one table, or those of the named batches only.

        Args:
            table: Name of the table.
            keys: Key by kind of batch; without it every batch that holds the table.
        """
        spec = TABLES[table]
        if keys is None:
            return self.steadily(lambda: self._read(spec, self._listed([table])[table]))
        found = (self.steadily(partial(self._batch, spec, kind, key)) for kind, key in keys.items())
        return pa.concat_tables([spec.schema.empty_table(), *found])

    def pieces(self, table: str, kind: str, key: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Rows of one batch in the order in which they stand in their file, a row group at a time.

        Args:
            table: Name of the table.
            kind: Kind of the batch.
            key: Its key; one that is not there has no rows.
            columns: Names of those to read.
        """
        read = 0
        while True:
            # Nothing stays open in between: a store may go away, and a compaction move the rows.
            piece = self.steadily(partial(self._piece, TABLES[table], kind, key, columns, read))
            if not piece.num_rows:
                return
            read += piece.num_rows
            yield piece

    def size_bytes(self, kind: str, key: str) -> int:
        """Bytes on disk of a batch's tables as it was published; 0 if it is not there."""
        return self.steadily(lambda: self._batch_bytes(kind, key))

    def snapshot(self, here: Collection[str] = tuple(TABLES)) -> dict[str, list[Path]]:
        """Parquet files of every table, listed together: no batch is in one table and not in another, none twice.

        Args:
            here: Names of the tables whose files are to lie on this machine. Others wait for `bring`.
        """

        def listed() -> dict[str, list[Path]]:
            files = self._listed(TABLES)
            self.place.bring(file for name in here for file in files[name])
            return files

        return self.steadily(listed)

    @property
    def late(self) -> bool:
        """Whether files of a snapshot may have to be brought before they can be read."""
        return self.place.late

    def bring(self, files: Iterable[Path]) -> None:
        """See to it that files of a snapshot lie on this machine.

        Raises:
            FileNotFoundError: If one of them is gone, because its rows were merged into another.
            StoreError: If the store cannot be reached.
        """
        self.place.bring(files)

    def loose(self, kind: str) -> list[str]:
        """Keys of the published batches of one kind that no segment holds, sorted."""
        return self.steadily(lambda: self._loose(kind, read_manifest(self.place)))

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
        return self.place.stamp(self.layout.manifest)

    def version(self) -> str:
        """A text that changes whenever a batch is published; cheap to ask."""
        return self.place.version()

    def sweep(self, *, older_than_s: float = 86_400.0) -> int:
        """Remove what killed writers left half-written; returns how many pieces.

        Args:
            older_than_s: Younger pieces may still be in work and stay, in seconds.
        """
        return self.place.sweep(older_than_s)

    def _publish(self, kind: str, key: str, tables: Mapping[str, pa.Table], growing: Growing) -> bool:
        # Asked each time: the store may have gone away just after it took the batch.
        if self.has(kind, key):
            return False
        self.layout.check_there()
        self.lift()
        growing.make()
        for name, table in tables.items():
            write(table, growing.folder / f"{name}.parquet")
        return self.place.publish(growing.folder, kind, key)

    def _listed(self, names: Iterable[str]) -> dict[str, list[Path]]:
        # The segments first: what is compacted after this moment still has files of its own for a while.
        manifest = read_manifest(self.place)
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
        covered = [index(self.place, segment).positions for segment in manifest.of(kind)]
        return [key for key in self.keys(kind) if not any(key in keys for keys in covered)]

    def _batch(self, table: Table, kind: str, key: str) -> pa.Table:
        found = self._span(table, kind, key)
        return fitted(read_span(*found), table.schema) if found else table.schema.empty_table()

    def _piece(self, table: Table, kind: str, key: str, columns: Sequence[str], start: int) -> pa.Table:
        schema = pa.schema([table.schema.field(name) for name in columns])
        found = self._span(table, kind, key)
        if not found:
            return schema.empty_table()
        path, first, end = found
        return fitted(read_span(path, first + start, end, columns, most=1), schema)

    def _span(self, table: Table, kind: str, key: str) -> tuple[Path, int, int | None] | None:
        """Where a batch's rows are: the file, first row and the one after; None if it has none."""
        manifest = read_manifest(self.place)
        for segment in manifest.of(kind):
            if key in index(self.place, segment).positions:
                return span(self.place, segment, table, key)
        if table not in BATCHES[kind] or not self.has(kind, key):
            return None
        file = self.layout.batch(kind, key) / f"{table.name}.parquet"
        self.place.bring([file])
        return file, 0, None

    def _read(self, table: Table, files: list[Path]) -> pa.Table:
        self.place.bring(files)
        return read(files, table.schema)

    def _batch_bytes(self, kind: str, key: str) -> int:
        for segment in read_manifest(self.place).of(kind):
            found = index(self.place, segment)
            if key in found.positions:
                return found.sizes_bytes[found.positions[key]]
        return self.place.batch_bytes(kind, key)

    def _mark(self) -> tuple[dict[str, Any], Any]:
        """What `store.json` says, and its tag."""
        try:
            mark, tag = self.place.read(self.layout.marker)
            if mark.get("format", self.place.format) != self.place.format or type(mark["schema_version"]) is not int:
                raise ValueError(f"it marks a '{mark.get('format')}', not a '{self.place.format}'")
        except FileNotFoundError:
            raise _no_store(self.root) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self.layout.marker} cannot be read: {error}.") from error
        if mark["schema_version"] > SCHEMA_VERSION:
            raise StoreError(
                f"{self.root} has schema version {mark['schema_version']}; this program reads up to {SCHEMA_VERSION}. "
                "Upgrade cc-ray."
            )
        return mark, tag


def _left(kind: str, grown: Collection[str], given: Collection[str]) -> dict[str, Table]:
    """Tables of a kind of batch whose rows did not come before, if all that came and is given belongs to it, once."""
    own = {table.name: table for table in BATCHES[kind]}
    left = {name: table for name, table in own.items() if name not in grown}
    for names, allowed in ((grown, own), (given, left)):
        for name in names:
            if name not in allowed:
                raise SchemaMismatchError(name, "-", f"one of {', '.join(allowed)} in a '{kind}' batch", name)
    return left


def _place(root: Path | str, create: bool) -> Place:
    url = url_of(root)
    try:
        if url is None:
            return Folder(root, create=create)
        # Its libraries take time that a folder does not need.
        from cc_ray.store.bucket import Bucket

        return Bucket(url, create=create)
    except FileNotFoundError:
        raise _no_store(url or root) from None
    except OSError as error:
        raise StoreError(f"cannot create a store at {url or root}: {error}. Choose another --store.") from error


def _no_store(root: Path | str) -> StoreError:
    return StoreError(
        f"{root} is not a CC-Ray store. Make one with `cc-ray demo` or `cc-ray run`, or name another with --store or "
        "CC_RAY_STORE."
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


def _is_narrow(kind: pa.DataType, spec: Column) -> bool:
    """Whether values are as narrow as the column may hold them, whatever their list is called."""
    return spec.narrow is not None and pa.types.is_list(kind) and kind.value_type == spec.narrow.value_type
