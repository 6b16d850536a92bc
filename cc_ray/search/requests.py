"""What somebody asks of a study that runs: rows of the store that its session looks for, wherever either of them is."""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from cc_ray.store import Store

_EVERY_S: Final = 2.0
"""Time between two looks."""
STOP: Final = "stop"


@dataclass(frozen=True)
class Request:
    """Stop a study or one of its trials; becomes a row of `schema.REQUESTS`."""

    study_id: str
    trial_id: str | None = None
    """None for the whole study."""
    by: str = ""
    """Who asks; empty where there is no login."""

    @property
    def reason(self) -> str:
        """Why what was asked to stop has stopped."""
        return f"stopped by {self.by or 'an operator'}"


def ask(store: Store, request: Request) -> None:
    """Publish a request; the study's session heeds it within seconds, if there is one."""
    row = {**asdict(request), "what": STOP, "at": datetime.now(UTC)}
    store.publish("request", f"{request.study_id}-{uuid.uuid4().hex}", {"requests": [row]})


class Inbox:
    """The requests for one study that come after this was made.

    Args:
        store: The store.
        study_id: The study.
    """

    def __init__(self, store: Store, study_id: str) -> None:
        self._store = store
        self._study_id = study_id
        self._seen = set(store.keys("request"))
        self._next = time.monotonic() + _EVERY_S

    def new(self) -> list[Request]:
        """Those that were not given before; looks at the store every other second and gives none meanwhile.

        Raises:
            StoreUnavailableError: If the store stays away.
        """
        if time.monotonic() < self._next:
            return []
        fresh = [key for key in self._store.keys("request") if key not in self._seen]
        self._seen.update(fresh)
        rows = [row for key in fresh for row in self._store.read("requests", keys={"request": key}).to_pylist()]
        self._next = time.monotonic() + _EVERY_S
        mine = (row for row in rows if row["study_id"] == self._study_id and row["what"] == STOP)
        return [Request(row["study_id"], row["trial_id"], row["by"]) for row in mine]
