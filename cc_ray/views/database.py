"""An in-memory DuckDB that sees a store's rows and nothing else.

Small tables are copied into it; large ones are handed over as pyarrow datasets over named files. So DuckDB needs no
file access at all, and none is given: no files, no network, no extensions, no change of settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from cc_ray.errors import StoreError
from cc_ray.schema import TABLES
from cc_ray.views.definitions import definitions

LARGE: Final = frozenset({"predictions", "layers", "activations", "instances"})
"""Tables that are read from their files at each question; the others are copied when the views are opened."""

_CLOSED: Final = {
    "enable_external_access": False,
    "python_enable_replacements": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
}


@dataclass(frozen=True)
class Rows:
    """A store's rows as of one moment: small tables in memory, large ones as datasets."""

    files: Mapping[str, Sequence[Path]]
    small: Mapping[str, pa.Table] = field(default_factory=dict)
    large: Mapping[str, ds.Dataset] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Mapping[str, Sequence[Path]], before: Rows | None = None) -> Rows:
        """Read what `before` has not read yet; published files never change.

        Raises:
            StoreError: If a file is missing or damaged.
        """
        before = before or cls({})
        small = {name: _read(name, files[name], before) for name in TABLES if name not in LARGE}
        return cls(files, small, {name: _dataset(name, files[name]) for name in sorted(LARGE)})


def connect(rows: Rows) -> duckdb.DuckDBPyConnection:
    """Make a database with every table and view, then lock its settings."""
    connection = duckdb.connect(":memory:", config=_CLOSED)
    connection.execute("CREATE SCHEMA stored")
    covered = {definition.name for definition in definitions()}
    for name, table in rows.small.items():
        connection.register("incoming", table)
        target = f"stored.{name}" if name in covered else name
        connection.execute(f"CREATE TABLE {target} AS SELECT * FROM incoming")
        connection.unregister("incoming")
    register(connection, rows)
    for definition in definitions():
        connection.execute(definition.statement)
    connection.execute("SET lock_configuration = true")
    return connection


def register(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Let a connection or cursor see the large tables: DuckDB keeps these per cursor."""
    for name, dataset in rows.large.items():
        connection.register(name, dataset)


def _read(name: str, files: Sequence[Path], before: Rows) -> pa.Table:
    known = set(before.files.get(name, ()))
    if not known.issubset(files):
        known = set()
    try:
        fresh = _dataset(name, [file for file in files if file not in known]).to_table()
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"cannot read the rows of '{name}': {error}") from error
    return pa.concat_tables([before.small[name], fresh]) if known else fresh


def _dataset(name: str, files: Sequence[Path]) -> Any:
    schema = TABLES[name].schema
    if not files:
        return ds.dataset(schema.empty_table())
    return ds.dataset([str(file) for file in files], schema=schema, format="parquet")
