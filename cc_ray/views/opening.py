"""Open a store for questions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from cc_ray.errors import QueryError, StoppedError
from cc_ray.stopping import go_on, interruptible
from cc_ray.store import Store
from cc_ray.store.layout import Layout
from cc_ray.store.written import WrittenStore
from cc_ray.views.database import LARGE, SMALL, Database, Rows, comment, comment_large, connect, lock, register
from cc_ray.views.definitions import needed
from cc_ray.views.statements import COMPACTED, check, explained

if TYPE_CHECKING:
    import pyarrow.dataset as ds

Parameters = Sequence[Any] | Mapping[str, Any]
"""Values for `?` by position, or for `$name` by name."""


class Views:
    """A store as of one moment, ready for questions.

    `sql` may be called from any number of threads at once. What is published later is not seen: ask `refreshed`.

    Args:
        store: The store.
        before: Views of the same store, whose rows need not be read again.
        only: Names of the tables and views that are wanted; None for all.
    """

    def __init__(
        self, store: Store | WrittenStore, before: Views | None = None, only: frozenset[str] | None = None
    ) -> None:
        self._store = store
        self.version = store.version()
        """Changes whenever something is published."""
        self._arrangement = store.arrangement()
        known = before._rows if before else None
        small = [name for name in SMALL if only is None or name in only]
        self._rows: Rows = store.steadily(lambda: Rows.of(store.snapshot(small), known, only))
        self._idle: deque[_Cursor] = deque()
        self._lock = Lock()
        self._away = set(self._rows.names & LARGE) if store.late else set()
        """Large tables whose files were not brought yet."""
        self._commented = False

    def __repr__(self) -> str:
        return f"open_views({str(self.root)!r})"

    @property
    def root(self) -> Path | str:
        """The store's folder or URL."""
        return self._store.root

    @property
    def layout(self) -> Layout:
        """Where files of the store lie on this machine; leads to the saved models."""
        return self._store.layout

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection of the caller's own, for one thread at a time.

        It is a database in memory beside the one that answers `sql`: whatever is done to it, the store and other
        answers stay as they are.
        """
        self._bring(self._away)
        connection = self.unlocked()
        lock(connection)
        return connection

    def unlocked(self, settings: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyConnection:
        """A new connection like `connection`, but that its settings can be changed until `database.lock`.

        Args:
            settings: DuckDB's settings to open it with.
        """
        connection = connect(self._rows, settings)
        comment(connection, self._rows)
        comment_large(connection, self._rows)
        return connection

    def sql(
        self, query: str, parameters: Parameters | None = None, tables: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """Answer one SQL question.

        Args:
            query: One statement that reads: SELECT, FROM, WITH, VALUES, PIVOT, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN.
            parameters: Values for the statement's `?` or `$name`.
            tables: Tables in memory that this question may name beside the store's.

        Raises:
            QueryError: If the statement is wrong, is not a question, or reaches beyond the store's views.
            StoppedError: If a `Stop` that it runs under was asked.
        """
        go_on()
        names = needed(query)
        self._bring(self._away if names is None else self._away & names)
        try:
            try:
                return self._answer(query, parameters, tables or {}, names)
            except duckdb.CatalogException:
                if names is None or names >= self._rows.names:
                    raise
                # Beside all there is: the error tells what may have been meant.
                return self._answer(query, parameters, tables or {}, self._rows.names)
        except duckdb.InterruptException as error:
            raise StoppedError("this was cancelled.") from error
        except duckdb.Error as error:
            raise QueryError(explained(error)) from error

    def dataset(self, table: str) -> ds.Dataset:
        """The rows of a large table, for reading them in order without SQL; its files are brought one by one."""
        if table not in self._away:
            return self._rows.large(table)
        from cc_ray.views.large import brought_late

        return brought_late(table, self._rows.files[table], lambda file: self._store.bring([file]))

    def refreshed(self) -> Views:
        """Views of the store as it is now: these if nothing was published or moved to other files since."""
        if self._store.version() == self.version and self._store.arrangement() == self._arrangement:
            return self
        return Views(self._store, self, self._rows.only)

    def _answer(
        self, query: str, parameters: Parameters | None, tables: Mapping[str, pa.Table], names: frozenset[str] | None
    ) -> pa.Table:
        """Answer one question for which these tables and views are made; None for all, with what they mean."""
        with self._cursor(self._rows.names if names is None else names, tables) as cursor:
            check(cursor, query)
            if names is None:
                self._comment(cursor)
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            try:
                with interruptible(cursor.interrupt):
                    return cursor.sql(query, params=parameters).to_arrow_table()
            finally:
                # What the statement made for itself, PIVOT a type, goes with the transaction.
                cursor.execute("ROLLBACK")

    def _bring(self, tables: Set[str]) -> None:
        """DuckDB and pyarrow would wait for each other if files were brought while DuckDB reads them."""
        for table in sorted(tables):
            try:
                self._store.bring(self._rows.files[table])
            except FileNotFoundError as error:
                raise QueryError(COMPACTED) from error
            self._away.discard(table)

    @cached_property
    def _database(self) -> Database:
        # Made when first asked: who takes a connection of their own does without.
        database = Database(self._rows)
        lock(database.connection)
        return database

    def _comment(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """When first asked for, because most questions see no comment and opening is to be quick."""
        with self._lock:
            if not self._commented:
                comment(self._database.connection, self._rows)
            self._commented = True
        comment_large(cursor, self._rows)

    @contextmanager
    def _cursor(self, names: frozenset[str], tables: Mapping[str, pa.Table]) -> Iterator[duckdb.DuckDBPyConnection]:
        """One that no other thread has and that sees these tables and views, kept for the next question."""
        with self._lock:
            self._database.make(names)
            cursor = self._idle.pop() if self._idle else _Cursor(self._database.connection.cursor())
        cursor.see(self._rows, names)
        for name, table in tables.items():
            cursor.connection.register(name, table)
        yield cursor.connection
        # After an error, and where names are to be forgotten, a new one is the safe one.
        for name in tables:
            cursor.connection.unregister(name)
        if not {name.lower() for name in tables} & LARGE:
            self._idle.append(cursor)


class _Cursor:
    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._seen: Set[str] = frozenset()

    def see(self, rows: Rows, names: Set[str]) -> None:
        """Register the large tables among these names, if they are not yet: that takes a while."""
        fresh = (names & rows.names & LARGE) - self._seen
        register(self.connection, rows, fresh)
        self._seen |= fresh


def open_views(root: Path | str, *, only_for: str | None = None) -> Views:
    """Open a store for questions.

    Args:
        root: The store's folder or URL.
        only_for: One SQL query: only what it may name is opened, which is quicker. Other names are unknown then.

    Raises:
        StoreError: If it is not a store, a newer program wrote it, a file of it is damaged, or it cannot be reached.
    """
    return Views(Store(root), only=None if only_for is None else needed(only_for))
