"""An in-memory DuckDB that sees a store's rows and nothing else.

Small tables are copied into it; large ones are handed over as pyarrow datasets over named files. So DuckDB needs no
file access at all, and none is given: no files, no network, no extensions, no change of settings.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs

from cc_ray.errors import StoreError
from cc_ray.schema import TABLES
from cc_ray.views.definitions import comments, definitions, identifier, literal

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
    """A store's rows as of one moment: small tables in memory, large ones as datasets."""

    files: Mapping[str, Sequence[Path]]
    small: Mapping[str, pa.Table] = field(default_factory=dict)
    large: Mapping[str, ds.Dataset] = field(default_factory=dict)
    only: frozenset[str] | None = None
    """Names of the tables and views that are wanted; None for all."""

    @classmethod
    def of(
        cls,
        files: Mapping[str, Sequence[Path]],
        before: Rows | None = None,
        only: frozenset[str] | None = None,
        late: bool = False,
    ) -> Rows:
        """Read what `before` has not read yet; published files never change.

        Args:
            files: Files by table.
            before: Rows of the same store, read with the same `only`.
            only: Names of the tables and views that are wanted; None for all.
            late: Files of large tables may not be there before a question needs them.

        Raises:
            StoreError: If a file is damaged.
            FileNotFoundError: If a file is gone.
        """
        before = before or cls({})
        wanted = [name for name in TABLES if only is None or name in only]
        small = {name: _read(name, files[name], before) for name in wanted if name not in LARGE}
        large = {name: _dataset(name, files[name], late) for name in wanted if name in LARGE}
        return cls(files, small, large, only)


def brought_late(table: str, files: Sequence[Path], bring: Callable[[Path], None]) -> ds.Dataset:
    """The rows of a large table for pyarrow alone: a file is brought when it is read."""
    filesystem = pafs.PyFileSystem(_Late(bring))
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


def connect(rows: Rows, settings: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyConnection:
    """Make a database with every table and view that is wanted; `lock` it before anybody asks.

    Args:
        rows: The store's rows.
        settings: DuckDB's settings beside those that close it.
    """
    connection = duckdb.connect(":memory:", config={**_CLOSED, **_spilling(), **(settings or {})})
    connection.execute("CREATE SCHEMA stored")
    covered = {definition.name for definition in definitions()}
    for name, table in rows.small.items():
        connection.register("incoming", table)
        target = f"stored.{name}" if name in covered else name
        connection.execute(f"CREATE TABLE {target} AS SELECT * FROM incoming")
        connection.unregister("incoming")
    register(connection, rows)
    for definition in definitions():
        if rows.only is None or definition.name in rows.only:
            connection.execute(definition.statement)
    return connection


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


def register(connection: duckdb.DuckDBPyConnection, rows: Rows) -> None:
    """Let a connection or cursor see the large tables: DuckDB keeps these per cursor."""
    for name, dataset in rows.large.items():
        connection.register(name, dataset)


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
    connection.execute(comments(rows.large))


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
        fresh = _dataset(name, [file for file in files if file not in known]).to_table()
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"cannot read the rows of '{name}': {error}") from error
    return pa.concat_tables([before.small[name], fresh]) if known else fresh


def _dataset(name: str, files: Sequence[Path], late: bool = False) -> Any:
    schema = TABLES[name].schema
    if not files:
        return ds.dataset(schema.empty_table())
    paths = [str(file) for file in files]
    if not late:
        return ds.dataset(paths, schema=schema, format="parquet")
    # This one does not ask whether they are there.
    return ds.FileSystemDataset.from_paths(paths, schema, ds.ParquetFileFormat(), filesystem=pafs.LocalFileSystem())
