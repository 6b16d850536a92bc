"""Which SQL statements are questions, and what an error of DuckDB means for who asked: the same at every door."""

from __future__ import annotations

from typing import Any, Final

import duckdb

from cc_ray.errors import QueryError

LONGEST_MESSAGE: Final = 2000
"""Characters of an error at most: DuckDB repeats parts of the query in it."""

_QUESTIONS: Final = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI}
"""Statements that only ask. MULTI is how DuckDB calls PIVOT."""
_HINTS: Final = (
    (duckdb.PermissionException, "Queries see the store's tables and views only: no files, no network, no extensions."),
    (duckdb.CatalogException, "SHOW TABLES lists what can be asked."),
    (duckdb.BinderException, "DESCRIBE <view> lists a view's columns."),
)
COMPACTED: Final = "The store was compacted since these views were opened: ask again with views.refreshed()."


def check(connection: duckdb.DuckDBPyConnection | Any, query: str) -> None:
    """Make sure that a text is one statement that asks; a read-only transaction holds what this cannot see.

    Raises:
        QueryError: If it is not.
    """
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise QueryError(f"one SQL statement is expected, {len(statements)} were given.")
    if statements[0].type not in _QUESTIONS:
        kind = statements[0].type.name.replace("_", " ")
        raise QueryError(f"a {kind} statement is not a question: the store is read-only here. Use SELECT.")


def explained(error: duckdb.Error) -> str:
    """What was wrong, in one line, and what to do."""
    reason = shortened(" ".join(str(error).partition("\nLINE ")[0].split()))
    return f"{reason.rstrip('.')}. {_hint(error)}".rstrip()


def shortened(text: str) -> str:
    """A message of bounded length."""
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]} …"


def _hint(error: duckdb.Error) -> str:
    if "No such file or directory" in str(error):
        return COMPACTED
    return next((hint for kind, hint in _HINTS if isinstance(error, kind)), "")
