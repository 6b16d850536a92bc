"""Open a store for questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from cc_ray.errors import QueryError
from cc_ray.store import Store
from cc_ray.store.layout import Layout
from cc_ray.views.database import Rows, connect, register

Parameters = Sequence[Any] | Mapping[str, Any]
"""Values for `?` by position, or for `$name` by name."""

_QUESTIONS: Final = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI}
"""Statements that only ask. MULTI is how DuckDB calls PIVOT."""


class Views:
    """A store as of one moment, ready for questions.

    `sql` may be called from any number of threads at once. What is published later is not seen: ask `refreshed`.

    Args:
        store: The store.
        before: Views of the same store, whose rows need not be read again.
    """

    def __init__(self, store: Store, before: Views | None = None) -> None:
        self._store = store
        self.version = store.version()
        """Changes whenever something is published."""
        self._rows: Rows = Rows.of(store.snapshot(), before._rows if before else None)
        self._database = connect(self._rows)

    def __repr__(self) -> str:
        return f"open_views({str(self.root)!r})"

    @property
    def root(self) -> Path:
        """The store's folder."""
        return self._store.root

    @property
    def layout(self) -> Layout:
        """Where the store keeps its files; leads to the saved models."""
        return self._store.layout

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection of the caller's own, for one thread at a time.

        It is a database in memory beside the one that answers `sql`: whatever is done to it, the store and other
        answers stay as they are.
        """
        return connect(self._rows)

    def sql(self, query: str, parameters: Parameters | None = None) -> pa.Table:
        """Answer one SQL question.

        Args:
            query: One statement that reads: SELECT, FROM, WITH, VALUES, PIVOT, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN.
            parameters: Values for the statement's `?` or `$name`.

        Raises:
            QueryError: If the statement is wrong, is not a question, or reaches beyond the store's views.
        """
        cursor = self._database.cursor()
        try:
            register(cursor, self._rows)
            _check(cursor, query)
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            return cursor.sql(query, params=parameters).to_arrow_table()
        except duckdb.Error as error:
            raise QueryError(_explained(error)) from error
        finally:
            cursor.close()

    def refreshed(self) -> Views:
        """Views of the store as it is now: these if nothing was published since."""
        return self if self._store.version() == self.version else Views(self._store, self)


def open_views(root: Path | str) -> Views:
    """Open a store for questions.

    Raises:
        StoreError: If the folder is not a store, a newer program wrote it, or a file of it is damaged.
    """
    return Views(Store(root))


def _check(cursor: duckdb.DuckDBPyConnection, query: str) -> None:
    statements = cursor.extract_statements(query)
    if len(statements) != 1:
        raise QueryError(f"one SQL statement is expected, {len(statements)} were given.")
    if statements[0].type not in _QUESTIONS:
        kind = statements[0].type.name.replace("_", " ")
        raise QueryError(f"a {kind} statement is not a question: the store is read-only here. Use SELECT.")


def _explained(error: duckdb.Error) -> str:
    reason = " ".join(str(error).partition("\nLINE ")[0].split())
    return f"{reason.rstrip('.')}. {_hint(error)}".rstrip()


def _hint(error: duckdb.Error) -> str:
    if isinstance(error, duckdb.PermissionException):
        return "Queries see the store's tables and views only: no files, no network, no extensions."
    if isinstance(error, duckdb.CatalogException):
        return "SHOW TABLES lists what can be asked."
    if isinstance(error, duckdb.BinderException):
        return "DESCRIBE <view> lists a view's columns."
    return ""
