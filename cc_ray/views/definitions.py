"""The views: one `.sql` file each, whose leading comment says what a row and what each column is.

    -- Grain: an edge of the lineage.
    -- child: model_id of the younger model
    CREATE VIEW edges AS SELECT ...

A file named like a table of the store stands over it: its SQL finds the written rows under `stored.<name>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import TopologicalSorter
from importlib.resources import files
from itertools import takewhile
from typing import Final

from cc_ray.schema import TABLES

_COMMENT: Final = re.compile(r"^--[^\n]*\n?", re.MULTILINE)

_EVERYTHING: Final = re.compile(
    r"\b(show|describe|summarize|information_schema|query|query_table|json_execute_serialized_sql|sql_auto_complete"
    r"|(duckdb|pragma|pg|sqlite)_\w+)\b|(^|\()\s*desc\s*($|;|\))",
    re.IGNORECASE,
)
"""What asks about names that it does not spell out."""


@dataclass(frozen=True)
class Definition:
    """One SQL file."""

    name: str
    text: str

    @cached_property
    def statement(self) -> str:
        """The SQL without its comments."""
        return _COMMENT.sub("", self.text).strip()

    @property
    def kind(self) -> str:
        """TABLE where its rows are computed when a store is opened, else VIEW."""
        return self.statement.split(maxsplit=2)[1]

    @property
    def grain(self) -> str:
        """What a row is."""
        return self._comments[0].removeprefix("Grain: ")

    @property
    def columns(self) -> dict[str, str]:
        """Meaning by column, in order."""
        pairs = (line.partition(": ") for line in self._comments[1:])
        return {name: meaning for name, _, meaning in pairs}

    @property
    def _comments(self) -> list[str]:
        head = takewhile(lambda line: line.startswith("-- "), self.text.splitlines())
        return [line.removeprefix("-- ") for line in head]

    def uses(self, name: str) -> bool:
        """Whether the SQL names another view."""
        return name != self.name and re.search(rf"(?<![\w.]){name}\b", self.statement) is not None


@cache
def definitions() -> tuple[Definition, ...]:
    """All views, each after those that it reads."""
    folder = files("cc_ray.views") / "sql"
    found = [Definition(file.name.removesuffix(".sql"), file.read_text("utf-8")) for file in folder.iterdir()]
    by_name = {definition.name: definition for definition in sorted(found, key=lambda definition: definition.name)}
    needs = {name: [other for other in by_name if by_name[name].uses(other)] for name in by_name}
    return tuple(by_name[name] for name in TopologicalSorter(needs).static_order())


def asks_what_there_is(query: str) -> bool:
    """Whether a query may be about names that it does not spell out: SHOW TABLES, duckdb_columns(), query('...')."""
    return _EVERYTHING.search(query) is not None


def needed(query: str) -> frozenset[str] | None:
    """Tables and views that a query may read, those that they are made from included.

    It may name too many: every word of the query counts, also in a string or as a column.

    Returns:
        Their names, or None for all: where the query asks what there is, or makes names while it runs.
    """
    if asks_what_there_is(query):
        return None
    made_from = _made_from()
    found: set[str] = set()
    fresh: set[str] = set(_words(query) & made_from.keys())
    while fresh:
        found |= fresh
        fresh = {other for name in fresh for other in made_from[name]} - found
    return frozenset(found)


def comments(views: Iterable[str] = (), tables: Iterable[str] = ()) -> str:
    """Statements that tell any client what a row and a column is, with its unit.

    Args:
        views: Names of this reference that are views in the database.
        tables: Names of this reference that are tables in the database.
    """
    kinds = {**dict.fromkeys(views, "VIEW"), **dict.fromkeys(tables, "TABLE")}
    return ";".join(statement for name, kind in kinds.items() for statement in _comments(name, kind))


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as SQL writes it, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


@cache
def _made_from() -> Mapping[str, frozenset[str]]:
    by_name = {definition.name: definition.statement for definition in definitions()}
    names = {*TABLES, *by_name}
    return {name: (_words(by_name.get(name, "")) & names) - {name} for name in names}


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


@cache
def _comments(name: str, kind: str) -> tuple[str, ...]:
    grain, columns = _meanings()[name]
    said = literal("A row is " + grain.rstrip(".") + ".")
    each = (f"COMMENT ON COLUMN {name}.{identifier(c)} IS {literal(text)}" for c, text in columns.items())
    return f"COMMENT ON {kind} {name} IS {said}", *each


@cache
def _meanings() -> Mapping[str, tuple[str, Mapping[str, str]]]:
    """Grain, and meaning by column; not of columns whose names differ between stores."""
    tables = {
        table.name: (table.grain, {c.name: f"{c.meaning}, in {c.unit}" if c.unit else c.meaning for c in table.columns})
        for table in TABLES.values()
    }
    views = {
        definition.name: (definition.grain, {c: text for c, text in definition.columns.items() if "<" not in c})
        for definition in definitions()
    }
    return {**tables, **views}
