"""What helps people to write SQL over a store: names with their meanings, and queries to begin with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from cc_ray.schema import TABLES
from cc_ray.views.definitions import definitions


@dataclass(frozen=True)
class Source:
    """A table or view that a query may name."""

    name: str
    grain: str
    """What a row is."""
    columns: Mapping[str, str]
    """Meaning with unit by column."""


@dataclass(frozen=True)
class Example:
    """A query to begin with."""

    title: str
    query: str


def sources(metrics: Iterable[str] = ()) -> tuple[Source, ...]:
    """All tables and views, views first, each kind by name.

    Args:
        metrics: Names of the store's metrics: of `model_metrics`, they are the columns.
    """
    views = {definition.name: definition for definition in definitions()}
    found = [
        Source(name, view.grain.rstrip("."), _with_metrics(view.columns, metrics))
        for name, view in sorted(views.items())
    ]
    return (*found, *(_table(name) for name in sorted(TABLES) if name not in views))


@cache
def examples() -> tuple[Example, ...]:
    """The queries beside this file, by title."""
    folder = files("cc_ray.views") / "examples"
    texts = [file.read_text("utf-8").strip() for file in folder.iterdir() if file.name.endswith(".sql")]
    parts = (text.partition("\n") for text in texts)
    return tuple(sorted((Example(head.removeprefix("-- ").rstrip("."), query) for head, _, query in parts), key=_title))


def _title(example: Example) -> str:
    return example.title


def _table(name: str) -> Source:
    table = TABLES[name]
    meanings = {c.name: f"{c.meaning}, in {c.unit}" if c.unit else c.meaning for c in table.columns}
    return Source(name, table.grain.rstrip("."), meanings)


def _with_metrics(columns: Mapping[str, str], metrics: Iterable[str]) -> dict[str, str]:
    """The columns, those that are named after a metric once for each."""
    found: dict[str, str] = {}
    for name, meaning in columns.items():
        named = [name.replace("<metric>", metric) for metric in metrics] if "<metric>" in name else [name]
        found |= dict.fromkeys(named, meaning)
    return found
