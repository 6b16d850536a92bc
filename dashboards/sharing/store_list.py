"""The name of the store that a tab shows, in the header, and the list of others to change to."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import param

from dashboards.components import Component, Message, script
from dashboards.session import Session
from dashboards.stores import Stores

_LOOKING: Final = "…"
_UNREADABLE: Final = "cannot be read now"


class StoreList(Component):
    """A button with the name of the store. It opens a list of links: each loads the page anew, with the same choices.

    Args:
        session: Of the tab.
        stores: What may be shown.
        shown: Name of the store that the tab shows.
    """

    current = param.String(doc="Name of the store shown.")
    rows = param.List([], doc="Of each store: its name, its name in the address (empty: none), and what is said of it.")

    _esm = script("stores")

    def __init__(self, session: Session, stores: Stores, shown: str) -> None:
        self._session, self._stores = session, stores
        rows = [self._row(name, _LOOKING) for name in stores.names]
        super().__init__(current=shown, rows=rows, sizing_mode=None, margin=0, css_classes=["inline"])

    def _handle_msg(self, data: Message) -> None:
        """The list was opened: how many models each store has now."""
        for name in self._stores.names:
            self._session.apart(f"store {name}", partial(self._stores.count, name), partial(self._told, name))

    def _told(self, name: str, count: int | None) -> None:
        self.rows = [self._row(name, said(count)) if row[0] == name else row for row in self.rows]

    def _row(self, name: str, text: str) -> list[Any]:
        return [name, "" if name == self._stores.first else name, text]


def said(count: int | None) -> str:
    """What is said of a store with so many models; None if it cannot be read."""
    if count is None:
        return _UNREADABLE
    return f"{count:,} model{'' if count == 1 else 's'}"
