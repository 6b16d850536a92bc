"""Writing down what people save of the dashboard's screen: every change is a row, and the last one counts."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc

from cc_ray.errors import ParameterError
from cc_ray.store import Store

LONGEST_NAME: Final = 120
LONGEST_NOTE: Final = 4_000
LONGEST_QUERY: Final = 100_000
"""Characters of an address; one of ten thousand models is a little longer."""
KIND: Final = "comparison"


class StoredComparisons:
    """The comparisons of one store, as `dashboards.writing.Comparisons` wants them. Whoever calls has checked the user.

    Two people may change one at once: the last wins, and the rows keep what the other wrote.

    Args:
        root: The store's folder or URL.
    """

    def __init__(self, root: Path | str) -> None:
        self.store = Store(root)

    def save(
        self, name: str, note: str, *, page: str, query: str, models: Sequence[str], base: str | None, user: str
    ) -> str:
        """Keep a new comparison.

        Returns:
            Its identity.

        Raises:
            ParameterError: If a text is empty that must not be, or too long.
            StoreError: If the store cannot be written to.
        """
        if len(query) > LONGEST_QUERY:
            raise ParameterError(f"{len(models):,} models are more than a link holds: select fewer, or filter instead.")
        id = uuid.uuid4().hex
        shown = {"page": page, "query": query, "models": list(models), "base_id": base or None}
        self._write({"comparison_id": id, **shown}, "saved", name, note, user)
        return id

    def edit(self, comparison_id: str, name: str, note: str, *, user: str) -> None:
        """Give a comparison another name or note.

        Raises:
            ParameterError: If there is no such comparison, or a text does not fit.
            StoreError: If the store cannot be written to.
        """
        self._write(self._last(comparison_id), "saved", name, note, user)

    def delete(self, comparison_id: str, *, user: str) -> None:
        """Take a comparison from the list; its rows stay.

        Raises:
            ParameterError: If there is no such comparison.
            StoreError: If the store cannot be written to.
        """
        last = self._last(comparison_id)
        self._write(last, "deleted", last["name"], last["note"], user)

    def _last(self, comparison_id: str) -> dict[str, Any]:
        table = self.store.read("comparisons")
        rows: list[dict[str, Any]] = table.filter(pc.equal(table["comparison_id"], comparison_id)).to_pylist()
        last = max(rows, key=lambda row: (row["at"], row["state"] == "deleted"), default=None)
        if last is None or last["state"] == "deleted":
            raise ParameterError("this comparison was deleted meanwhile: save it anew under a name of its own.")
        return last

    def _write(self, row: dict[str, Any], state: str, name: str, note: str, user: str) -> None:
        # A clock that is behind must not make this change the older one.
        before = row.get("at")
        now = datetime.now(UTC)
        at = now if before is None else max(now, before + timedelta(microseconds=1))
        texts = {"name": _name(name), "note": _note(note), "user": user[:LONGEST_NAME]}
        change = row | texts | {"state": state, "at": at}
        self.store.publish(KIND, f"{row['comparison_id']}-{uuid.uuid4().hex}", {"comparisons": [change]})


def _name(text: str) -> str:
    name = " ".join(_printable(text).split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise ParameterError(f"the name has {len(name)} characters: give it 1 to {LONGEST_NAME}.")
    return name


def _note(text: str) -> str:
    note = _printable(text).strip()
    if len(note) > LONGEST_NOTE:
        raise ParameterError(f"the note has {len(note):,} characters: {LONGEST_NOTE:,} at most are kept.")
    return note


def _printable(text: str) -> str:
    """The text without what neither shows nor breaks a line, and without halves of characters."""
    whole = text.encode("utf-8", "ignore").decode()
    return "".join(sign for sign in whole.replace("\r\n", "\n") if sign in "\n\t" or sign.isprintable())
