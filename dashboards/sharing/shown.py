"""What a card shows, as a question that can be asked elsewhere: the menu of the card is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cc_ray.compare.written import Written, written

MOST_VALUES: Final = 200
"""Models that one request to the API may name."""


@dataclass(frozen=True)
class Shown:
    """One table of a card."""

    title: str
    """What it is, for people; the name of its files is made from it."""
    sql: str
    note: str
    """What the rows of the SQL are, in a sentence."""
    command: str = ""
    """What asks for the same on the command line; empty where only SQL does."""
    address: str = ""
    """The same of the API, below `/api/v1/`; empty where only SQL has it."""


def asked(title: str, question: str, table: str = "", **given: Any) -> Shown:
    """What a question of the catalogue answers.

    Args:
        title: What it is.
        question: Its name.
        table: Which table of an answer that has several.
        given: Its parameters, as its function takes them.
    """
    found = written(question, table, **given)
    return Shown(title, found.sql, _note(found), found.command, found.address if _has_room(found) else "")


def _has_room(found: Written) -> bool:
    return all(len(texts) <= MOST_VALUES for texts in found.given.values())


def _note(found: Written) -> str:
    missing = f" Without what {', '.join(found.left_out)} would choose." if found.left_out else ""
    return f"The SQL gives {found.note[0].lower()}{found.note[1:]}{missing}"
