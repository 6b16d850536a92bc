"""Where a store is: what a folder and a bucket do in their own way. All else of a store is the same for both.

Contract of a place:

- The paths of its `layout` name everything. What never changes (a batch's files, a segment's, a model's) is read there
  as a file of this machine once `bring` or `Layout.fetched` has returned.
- Publishing a batch and adding a segment are whole or not at all, whoever is killed.
- The few files that change (`store.json`, the manifest, what is retired) are read and replaced through the place alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cc_ray.store.layout import Layout


@dataclass(frozen=True)
class Piece:
    """A segment that lies in the store, whether it counts or not."""

    kind: str
    id: str
    age_s: float


class Place(ABC):
    """One store's place; safe to use from any number of threads. A method that fails raises OSError or StoreError."""

    format: ClassVar[str]
    """What `store.json` calls a store of this sort."""
    late: ClassVar[bool]
    """Files may have to be brought before they can be read."""
    name: Path | str
    """What a user calls it: a folder or a URL. It leads here from every machine that sees it."""
    layout: Layout

    @abstractmethod
    def has(self, kind: str, key: str) -> bool:
        """Whether a batch is published."""

    @abstractmethod
    def keys(self, kind: str) -> list[str]:
        """Keys of all published batches of one kind, sorted."""

    @abstractmethod
    def version(self) -> str:
        """A text that changes whenever a batch is published."""

    @abstractmethod
    def publish(self, growing: Path, kind: str, key: str) -> bool:
        """Make a finished folder of tables visible as a batch; false if there is one of this key already."""

    @abstractmethod
    def batch_bytes(self, kind: str, key: str) -> int:
        """Bytes of a batch's own files; 0 where it has none."""

    @abstractmethod
    def bring(self, files: Iterable[Path]) -> None:
        """See to it that files of batches and segments lie on this machine.

        Raises:
            FileNotFoundError: If the store has one of them no more.
        """

    @abstractmethod
    def read(self, file: Path) -> tuple[Any, Any]:
        """The content of a JSON file that changes, and a tag of what it is now.

        Raises:
            FileNotFoundError: If there is none.
        """

    @abstractmethod
    def replace(self, file: Path, content: Any, tag: Any) -> bool:
        """Replace a JSON file: a reader finds the old or the new one.

        Args:
            file: The file.
            content: Its new content, which differs from what anybody else writes.
            tag: As `read` gave it; None if there was none.

        Returns:
            False if somebody else has replaced it meanwhile, and nothing was done.
        """

    @abstractmethod
    def stamp(self, file: Path) -> str:
        """A text that changes with a file that changes; empty if there is none."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[bool]:
        """Try to be the only one to compact."""

    @abstractmethod
    def add_segment(self, growing: Path, kind: str, segment_id: str) -> None:
        """Put a finished folder where segments are; it does not count yet."""

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """Every segment that lies in the store."""

    @abstractmethod
    def remove_segment(self, piece: Piece) -> None:
        """Remove a segment's files."""

    @abstractmethod
    def empty(self, kind: str, keys: Sequence[str]) -> int:
        """Remove the files of batches that a segment holds: they stay published. Returns of how many."""

    @abstractmethod
    def sweep(self, older_than_s: float) -> int:
        """Remove what killed writers left half-written; returns how many pieces."""
