"""A store in a folder of a file system: renames publish, and a lock of the kernel lets one compact at a time."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from cc_ray.recipe import identity
from cc_ray.schema import BATCHES, SCHEMA_VERSION
from cc_ray.store.layout import COMPACTED, Layout, sync_folder
from cc_ray.store.patience import patiently, unless_absent
from cc_ray.store.place import Piece, Place


class Folder(Place):
    """A store's folder.

    Args:
        root: The folder; a relative one counts from here.
        create: Make it a store if it is not one yet.

    Raises:
        OSError: If it cannot be made.
    """

    format = "cc-ray store"
    late = False
    name: Path

    def __init__(self, root: Path | str, *, create: bool = False) -> None:
        self.name = Path(root).expanduser().absolute()
        self.layout = Layout(self.name)
        if create and not os.path.exists(self.layout.marker):
            self.name.mkdir(parents=True, exist_ok=True)
            self.replace(self.layout.marker, {"format": self.format, "schema_version": SCHEMA_VERSION}, None)

    def has(self, kind: str, key: str) -> bool:
        """See `Place`: a batch is published when its folder is there."""
        return unless_absent(self.layout, partial(_is_there, self.layout.batch(kind, key)), False)

    def keys(self, kind: str) -> list[str]:
        """See `Place`."""
        names: Iterable[str] = unless_absent(self.layout, partial(os.listdir, self.layout.batches(kind)), ())
        # What a file manager or a shared file system leaves there is no batch.
        return sorted(name for name in names if not name.startswith("."))

    def version(self) -> str:
        """See `Place`."""
        # The count tells apart what falls within one tick of the file system's clock.
        stamps = (partial(_stamp, self.layout.batches(kind)) for kind in BATCHES)
        return identity([unless_absent(self.layout, stamp, 0) for stamp in stamps])

    def publish(self, growing: Path, kind: str, key: str) -> bool:
        """See `Place`: by one rename."""
        target = self.layout.batch(kind, key)
        sync_folder(growing)
        self.layout.make(target.parent)
        # Below a mount that was lost meanwhile is a folder of this machine.
        self.layout.check_there()
        published = rename_unless_there(growing, target)
        if published:
            # By itself: what is renamed is published, even where the store goes away at that moment.
            patiently(self.layout, partial(sync_folder, target.parent))
        return published

    def batch_bytes(self, kind: str, key: str) -> int:
        """See `Place`."""
        return size_bytes(self.layout.batch(kind, key))

    def bring(self, files: Iterable[Path]) -> None:
        """See `Place`: all files are here."""

    def read(self, file: Path) -> tuple[Any, Any]:
        """See `Place`."""
        read = partial(file.read_text, "utf-8")
        # Only the marker tells whether the store is there.
        text = read() if file == self.layout.marker else unless_absent(self.layout, read, None)
        if text is None:
            raise FileNotFoundError(file)
        return json.loads(text), None

    def replace(self, file: Path, content: Any, tag: Any) -> bool:
        """See `Place`: by one rename, also after a power cut. Only who is `alone` replaces what others may, too."""
        replace_file(self.layout, file, content)
        return True

    def stamp(self, file: Path) -> str:
        """See `Place`."""
        found = unless_absent(self.layout, file.stat, None)
        return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}" if found else ""

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """See `Place`."""
        self.layout.check_there()
        self.layout.make(self.layout.segments)
        with self.layout.lock.open("w") as file:
            try:
                # The kernel frees it when the process ends, however it ends.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def add_segment(self, growing: Path, kind: str, segment_id: str) -> None:
        """See `Place`."""
        target = self.layout.segment(kind, segment_id)
        sync_folder(growing)
        self.layout.make(target.parent)
        growing.rename(target)
        sync_folder(target.parent)

    def pieces(self) -> Iterator[Piece]:
        """See `Place`."""
        for folder in self.layout.segments.glob("*/*"):
            yield Piece(folder.parent.name, folder.name, time.time() - folder.stat().st_mtime)

    def remove_segment(self, piece: Piece) -> None:
        """See `Place`."""
        shutil.rmtree(self.layout.segment(piece.kind, piece.id), ignore_errors=True)

    def empty(self, kind: str, keys: Sequence[str]) -> int:
        """See `Place`: a mark stays in the folder."""
        found = [folder for folder in (self.layout.batch(kind, key) for key in keys) if folder.exists()]
        for folder in found:
            (folder / COMPACTED).touch()
        # A folder that lost its files in a power cut and has no mark yet could be published into again.
        for folder in found:
            sync_folder(folder)
        for folder in found:
            for file in folder.glob("*.parquet"):
                file.unlink(missing_ok=True)
        return len(found)

    def sweep(self, older_than_s: float) -> int:
        """See `Place`."""
        return sweep_partial(self.layout, older_than_s)


def size_bytes(folder: Path) -> int:
    """Bytes of the tables in a folder."""
    return sum(file.stat().st_size for file in folder.glob("*.parquet"))


def sweep_partial(layout: Layout, older_than_s: float) -> int:
    """Remove what grows no more; returns how many pieces."""
    removed = 0
    for piece in layout.partial.glob("*"):
        # Another process may publish its piece at any moment.
        with suppress(FileNotFoundError):
            if time.time() - _touched_at(piece) > older_than_s:
                shutil.rmtree(piece, ignore_errors=True) if piece.is_dir() else piece.unlink()
                removed += 1
    return removed


def _touched_at(piece: Path) -> float:
    """When something last grew: what is appended to a file does not show in its folder's time."""
    return max(part.stat().st_mtime for part in (piece, *piece.glob("*")))


def replace_file(layout: Layout, path: Path, content: Any) -> None:
    """Replace a JSON file: a reader finds the old or the new one, also after a power cut."""
    growing = layout.partial / uuid.uuid4().hex
    layout.make(path.parent)
    layout.make(layout.partial)
    with growing.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(growing, path)
    sync_folder(path.parent)


def rename_unless_there(growing: Path, target: Path) -> bool:
    """Give a finished folder its name; false if another has it."""
    try:
        growing.rename(target)
    except OSError:
        if target.exists():
            return False
        raise
    return True


def _is_there(path: Path) -> bool:
    os.stat(path)
    return True


def _stamp(folder: Path) -> tuple[int, int]:
    return os.stat(folder).st_mtime_ns, len(os.listdir(folder))
