"""The views: one `.sql` file each, whose leading comment says what a row and what each column is.

    -- Grain: an edge of the lineage.
    -- child: model_id of the younger model
    CREATE VIEW edges AS SELECT ...

A file named like a table of the store stands over it: its SQL finds the written rows under `stored.<name>`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import TopologicalSorter
from importlib.resources import files
from itertools import takewhile
from typing import Final

_COMMENT: Final = re.compile(r"^--[^\n]*\n?", re.MULTILINE)


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
