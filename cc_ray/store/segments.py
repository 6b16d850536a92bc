"""Segments: files that hold the rows of many batches, and the one file that says which of them count.

`README.md` beside this file says why each order of steps is as it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from cc_ray.errors import StoreError
from cc_ray.schema import BATCHES, Table
from cc_ray.store.place import Place

KEYS: Final = "keys"
"""Name of the file in a segment that lists its batches."""


@dataclass(frozen=True)
class Segment:
    """The merged rows of many batches of one kind."""

    id: str
    kind: str
    batches: int
    size_bytes: int
    narrow: bool
    """Its narrow columns are narrow, as those of all its batches were."""


@dataclass(frozen=True)
class Manifest:
    """The segments that count at one moment."""

    segments: tuple[Segment, ...] = ()
    claim: dict[str, Any] | None = None
    """Who may compact, where no lock of a file system says so."""
    tag: Any = None
    """What the file was when this was read."""

    def of(self, kind: str) -> list[Segment]:
        """Those of one kind."""
        return [segment for segment in self.segments if segment.kind == kind]


@dataclass(frozen=True)
class Index:
    """Which batches a segment holds and where their rows are; rows stand in the order of keys."""

    positions: dict[str, int]
    starts: dict[str, list[int]]
    """By table: first row of each batch, and the number of rows at the end."""
    sizes_bytes: list[int]

    def span(self, table: str, key: str) -> tuple[int, int]:
        """First row of a batch in a table's file and the row after its last."""
        position = self.positions[key]
        return self.starts[table][position], self.starts[table][position + 1]


def read_manifest(place: Place) -> Manifest:
    """The segments that count now; none where nothing was ever compacted.

    Raises:
        StoreError: If the file is damaged.
    """
    try:
        found, tag = place.read(place.layout.manifest)
        return Manifest(tuple(Segment(**segment) for segment in found["segments"]), found.get("claim"), tag)
    except FileNotFoundError:
        return Manifest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{place.layout.manifest} cannot be read: {error}.") from error


def replace_manifest(place: Place, manifest: Manifest) -> bool:
    """Make other segments count, from one moment to the next; false if others did so since it was read."""
    content: dict[str, Any] = {"segments": [asdict(segment) for segment in manifest.segments]}
    if manifest.claim:
        content["claim"] = manifest.claim
    return place.replace(place.layout.manifest, content, manifest.tag)


def index(place: Place, segment: Segment) -> Index:
    """Read a segment's list of batches; kept in memory, because a segment never changes.

    Raises:
        FileNotFoundError: If the segment was merged into another one and removed since.
    """
    file = place.layout.segment(segment.kind, segment.id) / f"{KEYS}.parquet"
    place.bring([file])
    return _index(file, segment.kind)


@lru_cache(maxsize=256)
def _index(path: Path, kind: str) -> Index:
    found = pq.ParquetFile(path).read()
    starts = {table.name: [0, *accumulate(found[f"{table.name}_rows"].to_pylist())] for table in BATCHES[kind]}
    positions = {key: position for position, key in enumerate(found["key"].to_pylist())}
    return Index(positions, starts, found["size_bytes"].to_pylist())


def span(place: Place, segment: Segment, table: Table, key: str) -> tuple[Path, int, int]:
    """Where the rows of one of a segment's batches are: the file, now on this machine, first row and the one after."""
    path = place.layout.segment(segment.kind, segment.id) / f"{table.name}.parquet"
    place.bring([path])
    return path, *index(place, segment).span(table.name, key)
