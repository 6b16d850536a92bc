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

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from cc_ray.errors import StoreError
from cc_ray.schema import BATCHES, Table
from cc_ray.store.folder import size_bytes
from cc_ray.store.layout import Layout
from cc_ray.store.parquet import Writer, is_narrow, narrowed, pieces, synced
from cc_ray.store.place import Place
from cc_ray.store.segments import (
    KEYS,
    Index,
    Manifest,
    Segment,
    index,
    read_manifest,
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
        with store.place.alone() as alone:
            if alone:
                store.lift()
                _forget_what_never_counted(store.place)
                moved = sum(_compact_kind(store, kind, on_progress or _silent) for kind in BATCHES)
                removed = _remove_what_is_due(store.place, keep_s)
    except _OvertakenError:
        alone = False
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"cannot compact the store {store.root}: {error}. Nothing was lost.") from error
    segments = len(read_manifest(store.place).segments)
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
    moved = sum(segment.batches for segment in read_manifest(store.place).segments)
    due = any(time.time() - retired.at > keep_s for retired in _read_retired(store.place)[:1])
    if published - moved <= more_than and not due:
        return None
    return compact(store, keep_s=keep_s, on_progress=on_progress)


class _OvertakenError(Exception):
    """Took so long that another compaction has begun: what this one would do next could undo what that one does."""


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
        manifest = read_manifest(store.place)
        size = sum(size_bytes(store.layout.batch(kind, key)) for key in keys)
        merge = _Merge(kind, narrow, keys, tuple(_small_enough(manifest, kind, narrow, size)))
        segment = _write_segment(store.place, merge, tell)
        _publish(store.place, manifest, merge, segment)
        moved += len(keys)
    return moved


def _portions(store: Store, kind: str) -> list[tuple[bool, tuple[str, ...]]]:
    """Batches to merge at once: with the same narrow columns, and not more than fill a segment."""
    portions: list[tuple[bool, list[str]]] = []
    last: dict[bool, tuple[list[str], int]] = {}
    loose = store.loose(kind)
    store.place.bring(
        store.layout.batch(kind, key) / f"{table.name}.parquet" for key in loose for table in BATCHES[kind]
    )
    for key in loose:
        folder = store.layout.batch(kind, key)
        narrow = any(is_narrow(folder / f"{table.name}.parquet", table) for table in BATCHES[kind])
        size = size_bytes(folder)
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


def _write_segment(place: Place, merge: _Merge, tell: OnProgress) -> Segment:
    layout, segment_id = place.layout, uuid.uuid4().hex
    growing = layout.partial / segment_id
    layout.make(growing)
    indices = {segment: index(place, segment) for segment in merge.segments}
    place.bring(
        layout.segment(merge.kind, segment.id) / f"{table.name}.parquet"
        for segment in merge.segments
        for table in BATCHES[merge.kind]
    )
    holders: dict[str, Segment | None] = {key: holder for holder in indices for key in indices[holder].positions}
    # In the order of keys: rows of one model stay together and a row group spans few models, however often merged.
    keys = sorted({**holders, **dict.fromkeys(merge.keys)})
    counts: dict[str, list[int]] = {}
    for table in BATCHES[merge.kind]:
        with (
            synced(growing / f"{table.name}.parquet") as file,
            Writer(file, table, _schema(table, merge.narrow)) as writer,
        ):
            counts[table.name] = []
            sources = _Sources(layout, merge, table, writer.schema, indices)
            for done, key in enumerate(keys, 1):
                counts[table.name].append(writer.add(sources.rows(key, holders.get(key))))
                if done % 64 == 0 or done == len(keys):
                    tell(Progress(merge.kind, table.name, done, len(keys)))
    _write_keys(layout, merge, keys, indices, counts, growing / f"{KEYS}.parquet")
    size = size_bytes(growing)
    place.add_segment(growing, merge.kind, segment_id)
    return Segment(segment_id, merge.kind, len(keys), size, merge.narrow)


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
    sizes |= {key: size_bytes(layout.batch(merge.kind, key)) for key in merge.keys}
    columns: dict[str, Any] = {"key": pa.array(keys, pa.string()), "size_bytes": [sizes[key] for key in keys]}
    columns |= {f"{name}_rows": pa.array(rows, pa.int64()) for name, rows in counts.items()}
    with synced(path) as file:
        pq.write_table(pa.table(columns), file, compression="zstd")


# --- How it comes to count, and how what it replaces goes.


def _publish(place: Place, manifest: Manifest, merge: _Merge, segment: Segment) -> None:
    gone = tuple(old.id for old in merge.segments)
    retired = Retired(time.time(), merge.kind, segment.id, gone, merge.keys)
    # Noted before: what is noted and never came to count is forgotten, what counts and was not noted would stay.
    _replace_retired(place, lambda noted: [*noted, retired])
    kept = tuple(old for old in manifest.segments if old not in merge.segments)
    if not replace_manifest(place, replace(manifest, segments=(*kept, segment))):
        raise _OvertakenError


def _forget_what_never_counted(place: Place) -> None:
    """Of a compaction that was killed before its segment counted."""
    noted = _read_retired(place)
    counted = {segment.id for segment in read_manifest(place).segments}
    if noted and noted[-1].by not in counted:
        _replace_retired(place, lambda noted: noted[:-1])


def _remove_what_is_due(place: Place, keep_s: float) -> int:
    noted = _read_retired(place)
    due = [retired for retired in noted if time.time() - retired.at > keep_s]
    manifest = read_manifest(place)
    removed = 0
    for retired in due:
        covered = [index(place, segment).positions for segment in manifest.of(retired.kind)]
        sure = [key for key in retired.batches if any(key in keys for keys in covered)]
        removed += place.empty(retired.kind, sure)
    needed = {segment.id for segment in manifest.segments}
    needed |= {name for retired in noted if retired not in due for name in retired.segments}
    removed += _remove_segments(place, needed, {name for retired in due for name in retired.segments}, keep_s)
    if due:
        _replace_retired(place, lambda noted: [retired for retired in noted if retired not in due])
    return removed


def _remove_segments(place: Place, needed: set[str], due: set[str], keep_s: float) -> int:
    """Remove segments that were replaced, and those that a killed compaction left."""
    found = [piece for piece in place.pieces() if piece.id not in needed and (piece.id in due or piece.age_s > keep_s)]
    for piece in found:
        place.remove_segment(piece)
    return len(found)


def _read_retired(place: Place) -> list[Retired]:
    """In order of time."""
    return _retired(place)[0]


def _retired(place: Place) -> tuple[list[Retired], Any]:
    try:
        found, tag = place.read(place.layout.retired)
        noted = [Retired(**{**each, **{name: tuple(each[name]) for name in ("segments", "batches")}}) for each in found]
        return noted, tag
    except FileNotFoundError:
        return [], None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{place.layout.retired} cannot be read: {error}.") from error


def _replace_retired(place: Place, change: Callable[[list[Retired]], list[Retired]]) -> None:
    noted, tag = _retired(place)
    if not place.replace(place.layout.retired, [asdict(retired) for retired in change(noted)], tag):
        raise _OvertakenError
