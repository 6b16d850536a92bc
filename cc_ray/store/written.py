"""A store in a bucket as it was written down for processes that may reach no bucket: names of files on this machine."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from cc_ray.store.folder import replace_file
from cc_ray.store.layout import Layout
from cc_ray.store.tables import Store

T = TypeVar("T")

SUFFIX: Final = ".json"


class Writer:
    """Writes down what a store holds; safe to use from any number of threads.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._here: set[str] = set()
        self._lock = threading.Lock()
        self.file = store.layout.partial / f"{uuid.uuid4().hex}{SUFFIX}"
        """Where it stands, below the folder of the files that it names; swept like all that a killed process leaves."""

    def write(self, here: Iterable[str]) -> None:
        """Write down what is published now.

        Args:
            here: Names of the tables whose files are to lie on this machine.

        Raises:
            StoreError: If the store cannot be reached.
        """
        # Whoever reads it at the same time needs what was asked for before.
        with self._lock:
            self._here.update(here)
            version, arrangement = self._store.version(), self._store.arrangement()
            found = self._store.snapshot(self._here)
            files = {name: [str(file) for file in files] for name, files in found.items()}
            written = {"root": str(self._store.root), "version": version, "arrangement": arrangement, "files": files}
            replace_file(self._store.layout, self.file, written)

    def close(self) -> None:
        """Remove it."""
        self.file.unlink(missing_ok=True)


class WrittenStore:
    """What was written down, for views to open.

    Args:
        file: As `Writer` wrote it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.layout = Layout(file.parent.parent)

    @property
    def root(self) -> str:
        """The store's URL."""
        return str(self._read()["root"])

    def version(self) -> str:
        """As of `Store`."""
        return str(self._read()["version"])

    def arrangement(self) -> str:
        """As of `Store`."""
        return str(self._read()["arrangement"])

    def snapshot(self, here: Collection[str]) -> dict[str, list[Path]]:
        """As of `Store`; all that is needed is here."""
        del here
        return {name: [Path(file) for file in files] for name, files in self._read()["files"].items()}

    late = True
    """As of `Store`: files that no question needed yet are not here."""

    def bring(self, files: Iterable[Path]) -> None:
        """As of `Store`; what a question needs was brought before it was asked."""

    def steadily(self, read: Callable[[], T]) -> T:
        """As of `Store`: files stay for an hour after a compaction."""
        return read()

    def _read(self) -> Any:
        return json.loads(self._file.read_text("utf-8"))
