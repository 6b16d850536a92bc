"""What the dashboard asks of whoever serves it where something is to be written: it only reads the store itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Comparisons(Protocol):
    """Keeps comparisons under a name. Errors are `CcRayError`s that say in one line what to do."""

    def save(
        self, name: str, note: str, *, page: str, query: str, models: Sequence[str], base: str | None, user: str
    ) -> str:
        """Keep a new one; gives its identity."""

    def edit(self, comparison_id: str, name: str, note: str, *, user: str) -> None:
        """Give one another name or note."""

    def delete(self, comparison_id: str, *, user: str) -> None:
        """Take one from the list."""
