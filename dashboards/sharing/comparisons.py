"""Saved comparisons: a button in the header, the panel that it opens, and what is done with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import param

from cc_ray.errors import CcRayError
from dashboards.components import Component, Message, script
from dashboards.page import pages
from dashboards.session import Session
from dashboards.snapshot import Row, Snapshot

LONGEST_NAME: Final = 120
LONGEST_NOTE: Final = 4_000
"""Characters that the fields take; whoever keeps comparisons checks them, too."""


class Panel(Component):
    """The button and its panel. Reports `do` = save, edit, delete or open; texts are only ever shown as text."""

    rows = param.List([], doc="The comparisons, as `row` gives them.")
    writable = param.Boolean(False, doc="Whether this user may save and change them.")
    told = param.List([], doc="A number that grows, whether it went wrong, and what to tell the user.")
    longest = param.List([LONGEST_NAME, LONGEST_NOTE], doc="Characters of a name and of a note.")

    _esm = script("comparisons")

    def __init__(self, on: Callable[[Message], None], **params: Any) -> None:
        super().__init__(**{"sizing_mode": None, "margin": 0, "css_classes": ["inline"]} | params)
        self._on = on

    def _handle_msg(self, data: Message) -> None:
        self._on(data)


class Comparisons:
    """What the header has of the saved comparisons, in one tab.

    Args:
        session: Of the tab.
        take: Shows a newer snapshot in the tab.
    """

    def __init__(self, session: Session, take: Callable[[Snapshot], None]) -> None:
        self.session = session
        self.take = take
        writable = session.user.operator and session.comparisons is not None
        self.panel = Panel(self._do, writable=writable)
        self.times_told = 0
        self.draw()

    def draw(self) -> None:
        """Show what the store has now."""
        whole = self.session.state.with_store
        rows = [row(each) for each in self.session.snapshot.comparisons]
        self.panel.rows = [{**each, "query": whole(each["query"])} for each in rows]

    def _do(self, message: Message) -> None:
        if message["do"] == "open":
            self._open(str(message["id"]))
        elif self.panel.writable:
            # Writing takes its time, in a bucket most of all.
            self.session.apart("comparisons", lambda: self._written(message), self._told)

    def _written(self, message: Message) -> Snapshot | str:
        """Write what was asked for; gives the store with it, or says why that was not possible."""
        try:
            self._write(message)
        except CcRayError as error:
            return str(error)
        return self.session.source.refresh(at_once=True)

    def _write(self, message: Message) -> None:
        kept, user = self.session.comparisons, self.session.user.name
        if kept is None:
            return
        state, id = self.session.state, str(message.get("id", ""))
        name, note = str(message.get("name", "")), str(message.get("note", ""))
        match message["do"]:
            case "save":
                models, base = list(state.selection), state.base or None
                kept.save(name, note, page=state.page, query=state.choices(), models=models, base=base, user=user)
            case "edit":
                kept.edit(id, name, note, user=user)
            case "delete":
                kept.delete(id, user=user)

    def _told(self, found: Snapshot | str) -> None:
        if isinstance(found, str):
            self._tell(found, wrong=True)
        else:
            self.take(found)
            self._tell("")

    def _tell(self, text: str, *, wrong: bool = False) -> None:
        self.times_told += 1
        self.panel.told = [self.times_told, wrong, text]

    def _open(self, id: str) -> None:
        snapshot = self.session.snapshot
        found = next((each for each in snapshot.comparisons if each["comparison_id"] == id), None)
        if found is None:
            self._tell("This comparison was deleted meanwhile.", wrong=True)
            return
        self.session.state.read(found["query"], snapshot.known)
        self._tell(missing(found))


def row(comparison: Row) -> Row:
    """A row of `compare.comparisons` as the browser shows it."""
    page = comparison["page"]
    return {
        "id": comparison["comparison_id"],
        "name": comparison["name"],
        "note": comparison["note"],
        "query": comparison["query"],
        "page": pages[page].title if page in pages else page,
        "models": len(comparison["models"]),
        "gone": len(comparison["gone"]),
        "user": comparison["user"],
        "at": comparison["at"].timestamp() * 1000,
    }


def missing(comparison: Row) -> str:
    """What to tell about models that are gone; empty where all are there."""
    gone, count = len(comparison["gone"]), len(comparison["models"])
    if not gone:
        return ""
    verb = "is" if gone == 1 else "are"
    return f"“{comparison['name']}”: {gone} of its {count} models {verb} not in the store any more; the rest is shown."
