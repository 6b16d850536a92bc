"""Every path of a store, in one place.

root/
  store.json                                  marks the folder; holds the schema version
  batches/<kind>/<key>/<table>.parquet        published rows; a mark alone once a segment holds them
  segments/manifest.json                      the segments that count
  segments/<kind>/<id>/<table>.parquet        the rows of many batches
  segments/<kind>/<id>/keys.parquet           which batches, and how many rows of each
  segments/retired.json                       files that nothing needs soon, and since when
  segments/lock                               held by the one who compacts
  artifacts/<2 digits>/<digest>.safetensors   models by content
  partial/                                    what is being written; swept when stale
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cc_ray.errors import StoreError

_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
COMPACTED: Final = "compacted"
"""The mark in a batch's folder whose rows a segment holds; keeps the folder from being published into again."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Layout:
    """The paths below one store's root. Names are checked: none leads outside."""

    root: Path

    @property
    def marker(self) -> Path:
        """The file that makes a folder a store."""
        return self.root / "store.json"

    @property
    def partial(self) -> Path:
        """Where files grow before they are published; same file system as the rest."""
        return self.root / "partial"

    @property
    def artifacts(self) -> Path:
        """Folder of all saved models."""
        return self.root / "artifacts"

    def batches(self, kind: str) -> Path:
        """Folder of all batches of one kind."""
        return self.root / "batches" / kind

    def batch(self, kind: str, key: str) -> Path:
        """Folder of one batch.

        Raises:
            StoreError: If the key could lead outside the folder.
        """
        if not _KEY.fullmatch(key):
            raise StoreError(f"'{key}' cannot name a batch: use letters, digits, '.', '_' and '-', at most 128.")
        return self.batches(kind) / key

    @property
    def segments(self) -> Path:
        """Folder of all segments."""
        return self.root / "segments"

    @property
    def manifest(self) -> Path:
        """The file that names the segments that count."""
        return self.segments / "manifest.json"

    @property
    def retired(self) -> Path:
        """The file that lists what is to be removed when its time is over."""
        return self.segments / "retired.json"

    @property
    def lock(self) -> Path:
        """The file that whoever compacts holds locked."""
        return self.segments / "lock"

    def segment(self, kind: str, segment_id: str) -> Path:
        """Folder of one segment."""
        return self.segments / kind / segment_id

    def artifact(self, digest: str) -> Path:
        """File of one saved model.

        Raises:
            StoreError: If the digest is not a SHA-256 in lower-case hexadecimal.
        """
        if not _DIGEST.fullmatch(digest):
            raise StoreError(f"'{digest}' is not the digest of an artifact: 64 hexadecimal digits are expected.")
        return self.artifacts / digest[:2] / f"{digest}.safetensors"

    def check_there(self) -> None:
        """Look for the store's marker.

        Raises:
            OSError: If the store is away.
        """
        os.stat(self.marker)

    def make(self, folder: Path) -> None:
        """Make a folder of the store with those above it, but never the root: where that is missing the store is away.

        Raises:
            FileNotFoundError: If the root is missing.
        """
        depth = len(folder.relative_to(self.root).parts)
        for each in reversed([folder, *folder.parents][:depth]):
            each.mkdir(exist_ok=True)

    def fetched(self, digest: str) -> Path:
        """File of one saved model, to be read; it is missing if the store has no such model.

        Raises:
            StoreError: If the digest is none, or the store cannot be reached.
        """
        return self.artifact(digest)

    def artifact_bytes(self, digest: str) -> int | None:
        """Length of a saved model's file; None if the store has none.

        Raises:
            StoreError: As `fetched`.
        """
        file = self.artifact(digest)
        return file.stat().st_size if file.exists() else None

    def share(self, finished: Path, digest: str) -> None:
        """Give a saved model to all who use the store, before its file gets its name here.

        Raises:
            StoreError: As `fetched`.
        """


class Draft(Layout):
    """A folder of its own for what one process writes and may yet throw away: nothing marks it, nobody waits for it."""

    def check_there(self) -> None:
        """See `Layout`: it is there as long as its process needs it."""


def sync_folder(folder: Path) -> None:
    """Make sure that what was renamed into a folder is still there after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
