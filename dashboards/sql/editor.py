"""The editor: a field for a query that completes names, runs with Ctrl+Enter, and says how long it has been at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import param

from cc_ray.views.guide import Source
from dashboards.components import Component, Message, script


class Editor(Component):
    """Reports `do="run"` with a `query`, `do="cancel"`; what is typed stays in the browser until then."""

    query = param.String(doc="What stands in the field, when Python puts it there.")
    insert = param.List([], doc="A number that grows, and a text to put where the cursor is.")
    names = param.List([], doc="What can be completed: lists of name, kind, the table of a column, and meaning.")
    running = param.Boolean(False, doc="Whether a query is at work.")
    most = param.Integer(10_000, doc="Rows that a file holds at most.")

    _esm = script("files", "editor")

    def __init__(self, on: Callable[[Message], None], **params: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_both", "margin": 0} | params)
        self._on = on

    def _handle_msg(self, data: Message) -> None:
        self._on(data)


def completions(sources: tuple[Source, ...]) -> list[list[str]]:
    """What the editor completes: every table and view, and every column of each."""
    tables = [[source.name, "view", "", f"a row is {source.grain}"] for source in sources]
    columns = [[name, "column", source.name, text] for source in sources for name, text in source.columns.items()]
    return tables + columns
