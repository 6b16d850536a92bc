"""The reference of tables and views for `README.md`, made from the schema and the SQL files.

`python -m cc_ray.views.reference` writes it into the README beside this file; a test checks that it is up to date.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cc_ray.schema import TABLES
from cc_ray.views.definitions import Definition, definitions

README: Final = Path(__file__).with_name("README.md")
MARK: Final = "<!-- From here on: python -m cc_ray.views.reference -->\n"


def reference() -> str:
    """Every table and view with every column, in Markdown."""
    over = {definition.name for definition in definitions()}
    tables = (_table(name) for name in TABLES if name not in over)
    views = (_view(definition) for definition in sorted(definitions(), key=lambda definition: definition.name))
    return "\n".join(["## Views", "", *views, "## Tables", "", *tables])


def write() -> None:
    """Bring the README up to date."""
    text = README.read_text("utf-8").partition(MARK)[0]
    README.write_text(f"{text}{MARK}\n{reference()}", "utf-8")


def _table(name: str) -> str:
    table = TABLES[name]
    meanings = ((c.name, f"{c.meaning}, in {c.unit}" if c.unit else c.meaning) for c in table.columns)
    return _section(name, table.grain, meanings)


def _view(definition: Definition) -> str:
    return _section(definition.name, definition.grain, definition.columns.items())


def _section(name: str, grain: str, meanings: Iterable[tuple[str, str]]) -> str:
    lines = [f"| `{column}` | {meaning.replace('|', '&#124;')} |" for column, meaning in meanings]
    head = [f"### `{name}`", "", f"A row is {grain.rstrip('.')}.", "", "| column | meaning |", "|---|---|"]
    return "\n".join([*head, *lines, ""])


if __name__ == "__main__":
    write()
