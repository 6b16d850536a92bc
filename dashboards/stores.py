"""The stores that the dashboard may show: whoever serves it names them, and no tab opens any other."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from cc_ray.errors import CcRayError, UnknownNameError
from cc_ray.views import open_views
from dashboards.operating import Operator
from dashboards.snapshot import Source
from dashboards.writing import Comparisons

KEPT: Final = 2
"""Stores that stay open, beside the first one, while no tab shows them."""
COUNTED_S: Final = 30.0
"""How long a number of models is believed of a store that is not open."""
_COUNT: Final = "SELECT count(*) AS models FROM models"


class UnknownStoreError(UnknownNameError):
    """A store that the dashboard may not show."""

    kind = "store"


@dataclass(frozen=True)
class Served:
    """A store as it is served."""

    root: str
    """Its folder or URL."""
    comparisons: Comparisons | None = None
    """Keeps what operators save; without it nobody can."""
    operator: Operator | None = None
    """Runs studies for those who may; None where nothing can be run."""


class Stores:
    """Opens the stores of a process when tabs ask for them; safe to use from any number of threads.

    The first one stays open, others as long as a tab shows them; of these, the last `KEPT` ones stay open, too. So the
    memory that they take does not grow with the number of stores that may be shown.

    Args:
        allowed: The stores by name, first what is shown where none is named.

    Raises:
        StoreError: If the first one is not a store.
    """

    def __init__(self, allowed: Mapping[str, Served]) -> None:
        self.allowed = dict(allowed)
        self.first = next(iter(self.allowed))
        self._open: WeakValueDictionary[str, Source] = WeakValueDictionary()
        self._recent: deque[Source] = deque(maxlen=KEPT)
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._counted: dict[str, tuple[float, int | None]] = {}
        self._always = self.open(self.first)

    @property
    def names(self) -> list[str]:
        """The names in order."""
        return list(self.allowed)

    def served(self, name: str) -> Served:
        """A store by its name.

        Raises:
            UnknownStoreError: If none of that name may be shown.
        """
        if name not in self.allowed:
            raise UnknownStoreError(name, self.allowed)
        return self.allowed[name]

    def is_open(self, name: str) -> bool:
        """Whether `open` answers at once."""
        return name in self._open

    def open(self, name: str) -> Source:
        """The source of a store; opening takes its time, so not on the event loop.

        Raises:
            UnknownStoreError: If none of that name may be shown.
            StoreError: If it cannot be opened.
        """
        root = self.served(name).root
        with self._locks[name]:
            found = self._open.get(name)
            if found is None:
                found = self._open[name] = Source(root)
            if name != self.first and found not in self._recent:
                self._recent.append(found)
        return found

    def count(self, name: str) -> int | None:
        """The number of models of a store, None if it cannot be read; takes its time, too."""
        opened = self._open.get(name)
        if opened is not None:
            return len(opened.snapshot.models)
        at, count = self._counted.get(name, (0.0, None))
        if not at or time.monotonic() - at > COUNTED_S:
            try:
                count = open_views(self.allowed[name].root, only_for=_COUNT).sql(_COUNT)["models"][0].as_py()
            except (CcRayError, OSError):
                count = None
            self._counted[name] = (time.monotonic(), count)
        return count
