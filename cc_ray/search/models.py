"""Which models of a session's trials were there, are made, are missing or failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal

from cc_ray.store import Store

State = Literal["missing", "reused", "made", "failed"]


class Models:
    """Every model that the trials known so far need, once.

    What is made is told, not looked for: looking on costs the same with ten models and with ten thousand.

    Args:
        store: Where they go.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._states: dict[str, State] = {}
        self.counts: Counter[State] = Counter()
        """Number of models by state."""

    def has(self, model_id: str) -> bool:
        """Whether it is known to be in the store."""
        return self._states.get(model_id) in ("reused", "made")

    def need(self, ids: Iterable[str], is_there: Callable[[str], bool]) -> None:
        """A trial needs these, from its base model on; after one that failed the others are never made.

        Args:
            ids: The models.
            is_there: Whether the store holds one of which nothing is known yet.
        """
        for model_id in ids:
            state = self._states.get(model_id)
            if state == "failed":
                return
            if state is None:
                self._put(model_id, "reused" if is_there(model_id) else "missing")

    def made(self, ids: Iterable[str]) -> None:
        """These are in the store now."""
        for model_id in ids:
            if self._states.get(model_id) == "missing":
                self._put(model_id, "made")

    def ended_short(self, ids: Iterable[str], *, failed: bool) -> None:
        """A trial of these did not get to its end: those that are not in the store are never made.

        Args:
            ids: The models, from the base model on.
            failed: The first that is missing failed; else it was stopped early.
        """
        state: State | None = "failed" if failed else None
        for model_id in ids:
            if self._states.get(model_id) == "missing" and self._store.has("step", model_id):
                self._put(model_id, "made")
            elif not self.has(model_id):
                self._put(model_id, state)
                state = None

    def _put(self, model_id: str, state: State | None) -> None:
        before = self._states.pop(model_id, None)
        if before is not None:
            self.counts[before] -= 1
        if state is not None:
            self._states[model_id] = state
            self.counts[state] += 1
