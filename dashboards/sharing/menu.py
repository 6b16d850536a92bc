"""The menu at the corner of a card: files of what it shows, pictures, and the query behind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import param

from dashboards.components import Component, Message, script
from dashboards.session import Session
from dashboards.sharing.shown import Shown

LONGEST: Final = 100_000
"""Characters of a query that is offered: of thousands of models that are named one by one nothing can be asked."""


class Menu(Component):
    """A button that opens the menu. All but opening the page of SQL is done by the browser.

    Args:
        session: Of the tab.
        picture: Whether the card shows something to make a picture of.
    """

    tables = param.List([], doc="What the card shows, first what matters most: `Shown`s as dictionaries.")
    picture = param.Boolean(False, doc="Whether pictures are offered.")
    file = param.String("cc-ray", doc="Name of pictures, without what follows the dot.")

    _esm = script("files", "picture", "menu")

    def __init__(self, session: Session, *, picture: bool = False, **more: Any) -> None:
        look = {"css_classes": ["corner"], "sizing_mode": None, "margin": 0}
        super().__init__(picture=picture, **look | more)
        self._session = session
        self.shown: list[Shown] = []

    def show(self, shown: Sequence[Shown], *, picture: bool | None = None) -> None:
        """Offer what the card shows now.

        Args:
            shown: Its tables, first what matters most; none where there is nothing to take.
            picture: Whether it shows something to make a picture of, if that changed.
        """
        self.shown = [each for each in shown if len(each.sql) <= LONGEST]
        tables = [{**asdict(each), "file": file_name(each.title)} for each in self.shown]
        changed = {} if picture is None else {"picture": picture}
        self.param.update(tables=tables, file=tables[0]["file"] if tables else "cc-ray", **changed)

    def _handle_msg(self, data: Message) -> None:
        place = int(data["place"])
        if data["do"] == "sql" and 0 <= place < len(self.shown):
            self._session.state.param.update(page="sql", sql=self.shown[place].sql)


def file_name(title: str) -> str:
    """A title as the name of a file, without what follows the dot."""
    words = re.findall(r"[a-z0-9_]+", title.lower())
    return "-".join(["cc-ray", *words])[:80]
