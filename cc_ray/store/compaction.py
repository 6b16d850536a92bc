"""Move the rows of many batches into few files, while others write and read.

Contract, whatever happens (`README.md` beside this file says why it holds):

- Every row of every published batch is found exactly once by whoever begins to read, before, during and after.
- A compaction that is killed leaves the store as it was or as it would have become, and files that the next removes.
- Files that nothing needs any more stay for a grace period, for readers that began before.
- Of two that compact at once one works and the other returns.
- A row is rewritten a number of times that grows with the logarithm of the store's size, not with every compaction.
- Memory is bounded by a few row groups of each merged segment, whatever the tables' sizes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from cc_ray.errors import StoreError
from cc_ray.schema import BATCHES, Table
from cc_ray.store.layout import COMPACTED, Layout, sync_folder
from cc_ray.store.parquet import Writer, is_narrow, narrowed, pieces
from cc_ray.store.patience import check_there
from cc_ray.store.segments import (
    KEYS,
    Index,
    Manifest,
    Segment,
    index,
    read_manifest,
    replace_file,
    replace_manifest,
)
from cc_ray.store.tables import Store

GRACE_S: Final = 3600.0
"""How long files stay for readers that began before they were replaced, in seconds."""

WORTHWHILE: Final = 200
"""More batches than this with files of their own are worth a compaction."""

FULL_BYTES: Final = 4 * 2**30
"""A segment of half this size is not merged again."""

_RATIO: Final = 2
"""A segment up to this many times as large as what is merged with it is merged too."""


@dataclass(frozen=True)
class Compacted:
    """What a compaction did."""

    batches: int
    """Batches whose rows it moved into a segment."""
    segments: int
    """Segments that there are now."""
    removed: int
    """Folders that it removed or emptied, because nothing needs their files any more."""
    duration_s: float
    busy: bool = False
    """Another compaction was at work, so this one did nothing."""


@dataclass(frozen=True)
class Progress:
    """How far a compaction is."""

    kind: str
    table: str
    done: int
    """Batches of this merge whose rows of the table are written."""
    total: int


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Retired:
    """Files whose rows are elsewhere since a moment."""

    at: float
    """When, in seconds since 1970."""
    kind: str
    by: str
    """The segment that holds their rows."""
    segments: tuple[str, ...]
    batches: tuple[str, ...]


def compact(store: Store, *, keep_s: float = GRACE_S, on_progress: OnProgress | None = None) -> Compacted:
    """Merge the batches that have files of their own into segments, and remove what was merged long ago.

    Args:
        store: The store; others may write and read meanwhile.
        keep_s: Files that are replaced stay this long for readers that began before, in seconds.
        on_progress: Is told after every few batches of a table.

    Raises:
        StoreError: If a file is damaged or the disk refuses. What was merged before stays merged.
    """
    started = time.monotonic()
    moved = removed = 0
    try:
        with _alone(store.layout) as alone:
            if alone:
                store.lift()
                _forget_what_never_counted(store.layout)
                moved = sum(_compact_kind(store, kind, on_progress or _silent) for kind in BATCHES)
                removed = _remove_what_is_due(store.layout, keep_s)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"cannot compact the store {store.root}: {error}. Nothing was lost.") from error
    segments = len(read_manifest(store.layout).segments)
    return Compacted(moved, segments, removed, time.monotonic() - started, busy=not alone)


def compact_if_worthwhile(
    store: Store, *, more_than: int = WORTHWHILE, keep_s: float = GRACE_S, on_progress: OnProgress | None = None
) -> Compacted | None:
    """Compact a store of many small files, or one with files that are due to be removed; cheap to ask.

    Args:
        store: The store.
        more_than: So many batches may have files of their own.
        keep_s: As `compact` takes it.
        on_progress: As `compact` takes it.

    Returns:
        What was done, or None if it was not worthwhile.

    Raises:
        StoreError: As `compact` does.
    """
    published = sum(len(store.keys(kind)) for kind in BATCHES)
    moved = sum(segment.batches for segment in read_manifest(store.layout).segments)
    due = any(time.time() - retired.at > keep_s for retired in _read_retired(store.layout)[:1])
    if published - moved <= more_than and not due:
        return None
    return compact(store, keep_s=keep_s, on_progress=on_progress)


@contextmanager
def _alone(layout: Layout) -> Iterator[bool]:
    check_there(layout)
    layout.make(layout.segments)
    with layout.lock.open("w") as file:
        try:
            # The kernel frees it when the process ends, however it ends.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _silent(progress: Progress) -> None:
    del progress


# --- What is merged with what.


@dataclass(frozen=True)
class _Merge:
    """Batches and segments of one kind that become one segment."""

    kind: str
    narrow: bool
    keys: tuple[str, ...]
    segments: tuple[Segment, ...]


def _compact_kind(store: Store, kind: str, tell: OnProgress) -> int:
    moved = 0
    for narrow, keys in _portions(store, kind):
        manifest = read_manifest(store.layout)
        size = sum(_size(store.layout.batch(kind, key)) for key in keys)
        merge = _Merge(kind, narrow, keys, tuple(_small_enough(manifest, kind, narrow, size)))
        segment = _write_segment(store.layout, merge, tell)
        _publish(store.layout, manifest, merge, segment)
        moved += len(keys)
    return moved


def _portions(store: Store, kind: str) -> list[tuple[bool, tuple[str, ...]]]:
    """Batches to merge at once: with the same narrow columns, and not more than fill a segment."""
    portions: list[tuple[bool, list[str]]] = []
    last: dict[bool, tuple[list[str], int]] = {}
    for key in store.loose(kind):
        folder = store.layout.batch(kind, key)
        narrow = any(is_narrow(folder / f"{table.name}.parquet", table) for table in BATCHES[kind])
        size = _size(folder)
        keys, total = last.get(narrow, ([], FULL_BYTES))
        if total + size > FULL_BYTES:
            keys, total = [], 0
            portions.append((narrow, keys))
        keys.append(key)
        last[narrow] = keys, total + size
    return [(narrow, tuple(keys)) for narrow, keys in portions]


def _small_enough(manifest: Manifest, kind: str, narrow: bool, size: int) -> Iterator[Segment]:
    """Segments that are not much larger than what is merged with them: so each row is rewritten seldom."""
    alike = [segment for segment in manifest.of(kind) if segment.narrow == narrow]
    for segment in sorted(alike, key=lambda segment: segment.size_bytes):
        if segment.size_bytes > min(_RATIO * size, FULL_BYTES // 2):
            return
        size += segment.size_bytes
        yield segment


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.parquet"))


# --- How a segment is written.


class _Stream:
    """Rows of one file, taken in order."""

    def __init__(self, found: Iterator[pa.Table]) -> None:
        self._found = found
        self._rest: pa.Table | None = None

    def take(self, rows: int) -> Iterator[pa.Table]:
        """The next rows, in pieces."""
        while rows:
            if self._rest is None or not self._rest.num_rows:
                self._rest = next(self._found)
            piece = self._rest.slice(0, rows)
            self._rest = self._rest.slice(piece.num_rows)
            rows -= piece.num_rows
            yield piece


def _write_segment(layout: Layout, merge: _Merge, tell: OnProgress) -> Segment:
    segment_id = uuid.uuid4().hex
    growing = layout.partial / segment_id
    layout.make(growing)
    indices = {segment: index(layout, segment) for segment in merge.segments}
    holders: dict[str, Segment | None] = {key: holder for holder in indices for key in indices[holder].positions}
    # In the order of keys: rows of one model stay together and a row group spans few models, however often merged.
    keys = sorted({**holders, **dict.fromkeys(merge.keys)})
    counts: dict[str, list[int]] = {}
    for table in BATCHES[merge.kind]:
        with Writer(growing / f"{table.name}.parquet", table, _schema(table, merge.narrow)) as writer:
            counts[table.name] = []
            sources = _Sources(layout, merge, table, writer.schema, indices)
            for done, key in enumerate(keys, 1):
                counts[table.name].append(writer.add(sources.rows(key, holders.get(key))))
                if done % 64 == 0 or done == len(keys):
                    tell(Progress(merge.kind, table.name, done, len(keys)))
    _write_keys(layout, merge, keys, indices, counts, growing / f"{KEYS}.parquet")
    sync_folder(growing)
    target = layout.segment(merge.kind, segment_id)
    layout.make(target.parent)
    growing.rename(target)
    sync_folder(target.parent)
    return Segment(segment_id, merge.kind, len(keys), _size(target), merge.narrow)


class _Sources:
    """Where the rows of one table's batches come from in one merge."""

    def __init__(
        self, layout: Layout, merge: _Merge, table: Table, schema: pa.Schema, indices: dict[Segment, Index]
    ) -> None:
        self._folder = layout.batches(merge.kind)
        self._table, self._schema, self._indices = table, schema, indices
        self._streams = {
            segment: _Stream(pieces(self._file(layout.segment(merge.kind, segment.id)), table, schema))
            for segment in merge.segments
        }

    def rows(self, key: str, holder: Segment | None) -> Iterator[pa.Table]:
        """The rows of one batch; keys of one holder come in their order."""
        if holder is None:
            return pieces(self._file(self._folder / key), self._table, self._schema)
        start, end = self._indices[holder].span(self._table.name, key)
        return self._streams[holder].take(end - start)

    def _file(self, folder: Path) -> Path:
        return folder / f"{self._table.name}.parquet"


def _schema(table: Table, narrow: bool) -> pa.Schema:
    return narrowed(table) if narrow else table.schema


def _write_keys(
    layout: Layout,
    merge: _Merge,
    keys: Sequence[str],
    indices: dict[Segment, Index],
    counts: dict[str, list[int]],
    path: Path,
) -> None:
    sizes = {key: found.sizes_bytes[at] for found in indices.values() for key, at in found.positions.items()}
    sizes |= {key: _size(layout.batch(merge.kind, key)) for key in merge.keys}
    columns: dict[str, Any] = {"key": pa.array(keys, pa.string()), "size_bytes": [sizes[key] for key in keys]}
    columns |= {f"{name}_rows": pa.array(rows, pa.int64()) for name, rows in counts.items()}
    with path.open("wb") as file:
        pq.write_table(pa.table(columns), file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())


# --- How it comes to count, and how what it replaces goes.


def _publish(layout: Layout, manifest: Manifest, merge: _Merge, segment: Segment) -> None:
    gone = tuple(old.id for old in merge.segments)
    retired = Retired(time.time(), merge.kind, segment.id, gone, merge.keys)
    # Noted before: what is noted and never came to count is forgotten, what counts and was not noted would stay.
    _replace_retired(layout, [*_read_retired(layout), retired])
    replace_manifest(layout, Manifest((*(old for old in manifest.segments if old not in merge.segments), segment)))


def _forget_what_never_counted(layout: Layout) -> None:
    """Of a compaction that was killed before its segment counted."""
    noted = _read_retired(layout)
    counted = {segment.id for segment in read_manifest(layout).segments}
    if noted and noted[-1].by not in counted:
        _replace_retired(layout, noted[:-1])


def _remove_what_is_due(layout: Layout, keep_s: float) -> int:
    noted = _read_retired(layout)
    due = [retired for retired in noted if time.time() - retired.at > keep_s]
    manifest = read_manifest(layout)
    removed = 0
    for retired in due:
        covered = [index(layout, segment).positions for segment in manifest.of(retired.kind)]
        sure = [key for key in retired.batches if any(key in keys for keys in covered)]
        removed += _empty([layout.batch(retired.kind, key) for key in sure])
    needed = {segment.id for segment in manifest.segments}
    needed |= {name for retired in noted if retired not in due for name in retired.segments}
    removed += _remove_segments(layout, needed, {name for retired in due for name in retired.segments}, keep_s)
    if due:
        _replace_retired(layout, [retired for retired in noted if retired not in due])
    return removed


def _empty(folders: list[Path]) -> int:
    found = [folder for folder in folders if folder.exists()]
    for folder in found:
        (folder / COMPACTED).touch()
    # A folder that lost its files in a power cut and has no mark yet could be published into again.
    for folder in found:
        sync_folder(folder)
    for folder in found:
        for file in folder.glob("*.parquet"):
            file.unlink(missing_ok=True)
    return len(found)


def _remove_segments(layout: Layout, needed: set[str], due: set[str], keep_s: float) -> int:
    """Remove segments that were replaced, and those that a killed compaction left."""
    removed = 0
    for folder in layout.segments.glob("*/*"):
        if folder.name not in needed and (folder.name in due or time.time() - folder.stat().st_mtime > keep_s):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _read_retired(layout: Layout) -> list[Retired]:
    """In order of time."""
    try:
        found = json.loads(layout.retired.read_text("utf-8"))
        return [Retired(**{**each, **{name: tuple(each[name]) for name in ("segments", "batches")}}) for each in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{layout.retired} cannot be read: {error}.") from error


def _replace_retired(layout: Layout, noted: list[Retired]) -> None:
    replace_file(layout, layout.retired, [asdict(retired) for retired in noted])
