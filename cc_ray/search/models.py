"""Which models of a session's trials were there, are made, are missing or failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from cc_ray.store import Store

State = Literal["missing", "reused", "made", "failed"]


class Models:
    """Every model that the trials known so far need, once.

    The store is asked once about each: what comes later is told, so that looking on costs the same with ten models
    and with ten thousand.

    Args:
        store: Says which models are there when a trial first needs them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._states: dict[str, State] = {}
        self.counts: Counter[State] = Counter()
        """Number of models by state."""

    def need(self, ids: Iterable[str]) -> None:
        """A trial needs these, from its base model on; after one that failed the others are never made."""
        for model_id in ids:
            state = self._states.get(model_id)
            if state == "failed":
                return
            if state is None:
                self._put(model_id, "reused" if self._store.has("step", model_id) else "missing")

    def made(self, ids: Iterable[str]) -> None:
        """These are in the store now."""
        for model_id in ids:
            if self._states.get(model_id) == "missing":
                self._put(model_id, "made")

    def failed(self, ids: Iterable[str]) -> None:
        """A trial of these failed: the first that is not in the store is the one, those after it are never made."""
        for model_id in self._absent(ids)[:1]:
            self._put(model_id, "failed")

    def stopped(self, ids: Iterable[str]) -> None:
        """A trial of these was stopped early: those that are not in the store are never made."""
        self._absent(ids)

    def _absent(self, ids: Iterable[str]) -> list[str]:
        """Forget those that are not in the store."""
        absent = []
        for model_id in ids:
            if self._states.get(model_id) == "missing" and self._store.has("step", model_id):
                self._put(model_id, "made")
            elif self._states.get(model_id) not in ("reused", "made"):
                self._put(model_id, None)
                absent.append(model_id)
        return absent

    def _put(self, model_id: str, state: State | None) -> None:
        before = self._states.pop(model_id, None)
        if before is not None:
            self.counts[before] -= 1
        if state is not None:
            self._states[model_id] = state
            self.counts[state] += 1
