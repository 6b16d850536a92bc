"""An in-memory DuckDB that sees a store's rows and nothing else.

Small tables are copied into it; large ones are handed over as pyarrow datasets over named files. So DuckDB needs no
file access at all, and none is given: no files, no network, no extensions, no change of settings.

A table or view is made when a question first needs it: who asks one question does not wait for all the others.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa

from cc_ray.errors import StoreError
from cc_ray.schema import TABLES
from cc_ray.store.parquet import read
from cc_ray.views.definitions import comments, definitions, identifier, literal

if TYPE_CHECKING:
    import pyarrow.dataset as ds

LARGE: Final = frozenset({"predictions", "layers", "activations", "instances"})
"""Tables that are read from their files at each question; the others are copied when the views are opened."""

SMALL: Final = tuple(name for name in TABLES if name not in LARGE)

_CLOSED: Final = {
    "enable_external_access": False,
    "python_enable_replacements": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
}


@dataclass(frozen=True)
class Rows:
    """A store's rows as of one moment: small tables in memory, large ones in their files."""

    files: Mapping[str, Sequence[Path]]
    small: Mapping[str, pa.Table] = field(default_factory=dict)
    only: frozenset[str] | None = None
    """Names of the tables and views that are wanted; None for all."""
    _datasets: dict[str, ds.Dataset] = field(default_factory=dict)

    @classmethod
    def of(
        cls, files: Mapping[str, Sequence[Path]], before: Rows | None = None, only: frozenset[str] | None = None
    ) -> Rows:
        """Read what `before` has not read yet; published files never change.

        Args:
            files: Files by table.
            before: Rows of the same store, read with the same `only`.
            only: Names of the tables and views that are wanted; None for all.

        Raises:
            StoreError: If a file is damaged.
            FileNotFoundError: If a file is gone.
        """
        before = before or cls({})
        wanted = [name for name in SMALL if only is None or name in only]
        return cls(files, {name: _read(name, files[name], before) for name in wanted}, only)

    @cached_property
    def names(self) -> frozenset[str]:
        """The tables and views that are wanted."""
        everything = frozenset({*TABLES, *(definition.name for definition in definitions())})
        return everything if self.only is None else everything & self.only

    def large(self, name: str) -> ds.Dataset:
        """The rows of a large table."""
        from cc_ray.views.large import rows_in_files

        if name not in self._datasets:
            self._datasets[name] = rows_in_files(name, self.files[name])
        return self._datasets[name]


class Database:
    """A database whose tables and views are made when they are asked for; for one thread at a time.

    Args:
        rows: The store's rows.
        settings: DuckDB's settings beside those that close it.
    """

    def __init__(self, rows: Rows, settings: Mapping[str, Any] | None = None) -> None:
        self.connection = duckdb.connect(":memory:", config={**_CLOSED, **_spilling(), **(settings or {})})
        """`lock` it before anybody asks."""
        self.connection.execute("CREATE SCHEMA stored")
        self._rows = rows
        self._made: frozenset[str] = frozenset()

    def make(self, names: frozenset[str]) -> None:
        """See to it that tables and views are there.

        Args:
            names: Their names, with those of all that they are made from.
        """
        missing = (names & self._rows.names) - self._made
        if not missing:
            return
        self.connection.begin()
        try:
            self._make(missing)
        except BaseException:
            self.connection.rollback()
            raise
        self.connection.commit()
        self._made |= missing

    def _make(self, names: frozenset[str]) -> None:
        covered = {definition.name for definition in definitions()}
        for name, table in self._rows.small.items():
            if name not in names:
                continue
            self.connection.register("incoming", table)
            target = f"stored.{name}" if name in covered else name
            self.connection.execute(f"CREATE TABLE {target} AS SELECT * FROM incoming")
            self.connection.unregister("incoming")
        register(self.connection, self._rows, names & LARGE)
        for definition in definitions():
            if definition.name in names:
                self.connection.execute(definition.statement)


def connect(rows: Rows, settings: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyConnection:
    """Make a database with every table and view that is wanted; `lock` it before anybody asks.

    Args:
        rows: The store's rows.
        settings: DuckDB's settings beside those that close it.
    """
    database = Database(rows, settings)
    database.make(rows.names)
    return database.connection


def _spilling() -> dict[str, str]:
    """Where what does not fit into memory goes: not to wherever one stands, and nowhere if nothing may be written."""
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        return {"temp_directory": ""}
    return {"temp_directory": str(Path(folder, f"cc-ray-{os.getuid()}-{os.getpid()}.duckdb"))}


def lock(connection: duckdb.DuckDBPyConnection, settings: Mapping[str, Any] | None = None) -> None:
    """Change settings for the last time.

    Args:
        connection: A database.
        settings: Values by name of the setting.
    """
    for name, value in (settings or {}).items():
        connection.execute(f"SET {name} = {literal(str(value))}")
    connection.execute("SET lock_configuration = true")


def register(connection: duckdb.DuckDBPyConnection, rows: Rows, names: Set[str]) -> None:
    """Let a connection or cursor see large tables: DuckDB keeps these per cursor."""
    for name in names:
        connection.register(name, rows.large(name))


def comment(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Say in the database what each table, view and column is; takes a tenth of a second."""
    if rows.only is not None:
        return
    kinds = dict.fromkeys(rows.small, "TABLE") | {definition.name: definition.kind for definition in definitions()}
    by_kind = {kind: [name for name, found in kinds.items() if found == kind] for kind in ("VIEW", "TABLE")}
    statements = f"{comments(by_kind['VIEW'], by_kind['TABLE'])};{_comments_of_metrics(connection, rows)}"
    connection.execute(f"BEGIN; {statements}; COMMIT")


def comment_large(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Say what the large tables are, to the connection or cursor that they are registered with."""
    connection.execute(comments(sorted(rows.names & LARGE)))


def _comments_of_metrics(connection: duckdb.DuckDBPyConnection, rows: Rows) -> str:
    """The columns of `model_metrics`, which differ between stores."""
    found = connection.execute("SELECT column_name FROM duckdb_columns() WHERE table_name = 'model_metrics'").fetchall()
    defined = rows.small["metric_definitions"]
    said: dict[str, str] = {}
    for name, meaning in zip(defined["metric"].to_pylist(), defined["meaning"].to_pylist(), strict=True):
        said |= {name: meaning}
        said |= {f"{name}_{end}": f"{end} end of the 95 % interval: {meaning}" for end in ("low", "high")}
    here = (name for (name,) in found if name in said)
    return ";".join(f"COMMENT ON COLUMN model_metrics.{identifier(name)} IS {literal(said[name])}" for name in here)


def _read(name: str, files: Sequence[Path], before: Rows) -> pa.Table:
    known = set(before.files.get(name, ()))
    if not known.issubset(files):
        known = set()
    try:
        fresh = read([file for file in files if file not in known], TABLES[name].schema)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(f"cannot read the rows of '{name}': {error}") from error
    return pa.concat_tables([before.small[name], fresh]) if known else fresh
