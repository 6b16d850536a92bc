"""A store in a bucket of an object store, and its mirror: the folder where files of it lie on this machine.

The bucket is the truth. What never changes is kept in the mirror once it was written or read here, so that all who read
files read them from a disk. What changes is asked of the bucket each time. `README.md` tells the names in a bucket.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from cc_ray.errors import StoreError
from cc_ray.recipe import identity
from cc_ray.schema import BATCHES, SCHEMA_VERSION
from cc_ray.store.folder import rename_unless_there, size_bytes, sweep_partial
from cc_ray.store.layout import Layout
from cc_ray.store.objects import AT_ONCE, Objects, Tag
from cc_ray.store.place import Piece, Place
from cc_ray.store.segments import index, read_manifest

T = TypeVar("T")

LEASE_S: Final = 3600.0
"""How long a compaction keeps others from compacting if it is killed, in seconds; also how long the mirror keeps files
for readers that began before."""

_PUBLISHED: Final = "published"
_GONE: Final = "gone"
"""A mark in the mirror's folder of a segment that counts no more: since when."""


class Bucket(Place):
    """A store's part of a bucket.

    Args:
        url: As `address.url_of` gives it.
        create: Make it a store if it is not one yet.

    Raises:
        StoreError: If it cannot be reached, or what is there is no store of this kind.
        FileNotFoundError: If nothing is there.
    """

    format = "cc-ray store in a bucket"
    late = True
    name: str
    layout: Mirror

    def __init__(self, url: str, *, create: bool) -> None:
        self.name = url
        self.objects = Objects(url)
        self._keys: dict[str, set[str]] = defaultdict(set)
        """Published batches that were seen; they stay published."""
        self._markers: dict[tuple[str, str], _Marker] = {}
        self.layout = Mirror(_mirror(url, self._store_id(create)), self.objects)

    def _store_id(self, create: bool) -> str:
        """What tells this store from one that was at the same URL before."""
        if create and self.objects.size_bytes("store.json") is None:
            self._create()
        try:
            return str(json.loads(self.objects.read("store.json")[0])["store_id"])
        except (ValueError, KeyError, TypeError):
            raise StoreError(
                f"{self.name} is no store of a bucket: a copy of a folder, perhaps, which only `cc-ray views` reads. "
                "Name the folder, or another URL."
            ) from None

    def _create(self) -> None:
        mark = {"format": self.format, "schema_version": SCHEMA_VERSION, "store_id": uuid.uuid4().hex}
        if self.objects.swap("store.json", _json(mark), None) and self.objects.swap("store.json", _json({}), None):
            self.objects.delete(["store.json"])
            raise StoreError(
                f"the server of {self.name} overwrites what is to be written only once (If-None-Match): two writers "
                "could publish one batch. Use another server, or a newer version of it."
            )

    def has(self, kind: str, key: str) -> bool:
        """See `Place`: a batch is published when its marker is there."""
        if key not in self._keys[kind] and not self.layout.batch(kind, key).exists():
            if self.objects.size_bytes(_marker_name(kind, key)) is None:
                return False
            self._keys[kind].add(key)
        return True

    def keys(self, kind: str) -> list[str]:
        """See `Place`: markers stand apart from what they mark, so that few requests list them."""
        found = [found.name.rpartition("/")[2] for found in self.objects.listing(f"{_PUBLISHED}/{kind}")]
        self._keys[kind].update(found)
        return sorted(found)

    def version(self) -> str:
        """See `Place`: batches are never taken back, so their number tells."""
        counts = Counter(found.name.split("/")[1] for found in self.objects.listing(_PUBLISHED))
        return identity([str(self.layout.root), [counts[kind] for kind in BATCHES]])

    def publish(self, growing: Path, kind: str, key: str) -> bool:
        """See `Place`: files under a name of this writer's own, then one marker that only the first can write."""
        writer, marker = growing.name, _Marker(growing.name, size_bytes(growing))
        files = {f"{self._folder(kind, key, writer)}/{file.name}": file for file in growing.iterdir()}
        self.objects.write(f"partial/{writer}", _json({"kind": kind, "key": key}))
        _each(lambda name: self.objects.write(name, files[name]), files)
        first = self.objects.swap(_marker_name(kind, key), _json(vars(marker)), None)
        # What is not cleared away now is swept later.
        with suppress(StoreError):
            if not first:
                self.objects.delete(list(files))
            self.objects.delete([f"partial/{writer}"])
        if first:
            target = self.layout.batch(kind, key)
            target.parent.mkdir(parents=True, exist_ok=True)
            rename_unless_there(growing, target)
        return first

    def batch_bytes(self, kind: str, key: str) -> int:
        """See `Place`: its marker tells."""
        marker = self._marker(kind, key)
        return marker.size_bytes if marker else 0

    def bring(self, files: Iterable[Path]) -> None:
        """See `Place`."""
        missing: dict[Path, list[Path]] = defaultdict(list)
        for file in files:
            if not file.exists():
                missing[file.parent].append(file)
        _each(lambda folder: self._bring(folder, missing[folder]), missing)

    def _bring(self, folder: Path, files: Sequence[Path]) -> None:
        where, kind, name = folder.relative_to(self.layout.root).parts
        source = f"{where}/{kind}/{name}"
        if where == "batches":
            marker = self._marker(kind, name)
            if marker is None:
                raise FileNotFoundError(f"no batch '{name}' in {self.name}")
            source = self._folder(kind, name, marker.writer)
        for file in files:
            self.layout.download(f"{source}/{file.name}", file)

    def read(self, file: Path) -> tuple[Any, Tag]:
        """See `Place`."""
        content, tag = self.objects.read(self._name(file))
        found = json.loads(content)
        if file == self.layout.manifest:
            self.layout.tidy({segment["id"] for segment in found["segments"]})
        return found, tag

    def replace(self, file: Path, content: Any, tag: Tag | None) -> bool:
        """See `Place`: the object store compares and writes in one step."""
        return self.objects.swap(self._name(file), _json(content), tag)

    def stamp(self, file: Path) -> str:
        """See `Place`."""
        return self.objects.stamp(self._name(file))

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """See `Place`: the manifest says who compacts, and until when.

        Whoever claims it changes it, so that one whose time was over can no more replace what it had read before.
        """
        claim = {"by": uuid.uuid4().hex, "until": time.time() + LEASE_S}
        content, tag = self._manifest()
        taken = content.get("claim", {"until": 0.0})["until"] > time.time()
        if taken or not self.replace(self.layout.manifest, {**content, "claim": claim}, tag):
            yield False
        else:
            try:
                yield True
            finally:
                with suppress(StoreError):
                    self._release(claim["by"])

    def _release(self, by: object) -> None:
        content, tag = self._manifest()
        if content.get("claim", {}).get("by") == by:
            self.replace(self.layout.manifest, {**content, "claim": {"by": by, "until": 0.0}}, tag)

    def _manifest(self) -> tuple[dict[str, Any], Tag | None]:
        try:
            return self.read(self.layout.manifest)
        except FileNotFoundError:
            return {"segments": []}, None

    def add_segment(self, growing: Path, kind: str, segment_id: str) -> None:
        """See `Place`."""
        target = self.layout.segment(kind, segment_id)
        _each(lambda file: self.objects.write(self._name(target / file.name), file), list(growing.iterdir()))
        target.parent.mkdir(parents=True, exist_ok=True)
        growing.rename(target)

    def pieces(self) -> Iterator[Piece]:
        """See `Place`."""
        ages: dict[tuple[str, str], float] = {}
        for found in self.objects.listing("segments"):
            _, kind, *rest = found.name.split("/")
            if rest:
                ages[kind, rest[0]] = min(found.age_s, ages.get((kind, rest[0]), found.age_s))
        yield from (Piece(kind, name, age_s) for (kind, name), age_s in ages.items())

    def remove_segment(self, piece: Piece) -> None:
        """See `Place`."""
        folder = self.layout.segment(piece.kind, piece.id)
        self.objects.delete([found.name for found in self.objects.listing(self._name(folder))])
        shutil.rmtree(folder, ignore_errors=True)

    def empty(self, kind: str, keys: Sequence[str]) -> int:
        """See `Place`: the markers stay."""
        gone = set(keys)
        # One listing of all is fewer requests than one for each.
        names = [found.name for found in self.objects.listing(f"batches/{kind}") if found.name.split("/")[2] in gone]
        self.objects.delete(names)
        for key in keys:
            shutil.rmtree(self.layout.batch(kind, key), ignore_errors=True)
        return len({name.split("/")[2] for name in names})

    def sweep(self, older_than_s: float) -> int:
        """See `Place`: each writer notes what it begins."""
        removed = 0
        for found in self.objects.listing("partial"):
            if found.age_s > older_than_s:
                # Another process may finish it at any moment.
                with suppress(FileNotFoundError):
                    self._discard(found.name)
                    removed += 1
        self._forget_merged(older_than_s)
        return removed + sweep_partial(self.layout, older_than_s)

    def _forget_merged(self, older_than_s: float) -> None:
        """Leave in the mirror no files of batches that are read from segments since long."""
        for segment in read_manifest(self).segments:
            for key in index(self, segment).positions:
                folder = self.layout.batch(segment.kind, key)
                with suppress(FileNotFoundError):
                    if time.time() - folder.stat().st_mtime > older_than_s:
                        shutil.rmtree(folder, ignore_errors=True)

    def _discard(self, note: str) -> None:
        writer, begun = note.rpartition("/")[2], json.loads(self.objects.read(note)[0])
        kind, key = begun["kind"], begun["key"]
        marker = self._marker(kind, key)
        if marker is None or marker.writer != writer:
            folder = self._folder(kind, key, writer)
            self.objects.delete([found.name for found in self.objects.listing(folder)])
        self.objects.delete([note])

    def _marker(self, kind: str, key: str) -> _Marker | None:
        if (kind, key) not in self._markers:
            try:
                content = self.objects.read(_marker_name(kind, key))[0]
            except FileNotFoundError:
                return None
            self._markers[kind, key] = _Marker(**json.loads(content))
        return self._markers[kind, key]

    def _folder(self, kind: str, key: str, writer: str) -> str:
        return f"{self._name(self.layout.batch(kind, key))}/{writer}"

    def _name(self, path: Path) -> str:
        return path.relative_to(self.layout.root).as_posix()


@dataclass(frozen=True)
class _Marker:
    """What makes a batch published."""

    writer: str
    """Whose files they are."""
    size_bytes: int


@dataclass(frozen=True)
class Mirror(Layout):
    """The paths of a store in a bucket on this machine, where some of its files lie already."""

    objects: Objects

    def check_there(self) -> None:
        """See `Layout`: requests to the bucket tell."""

    def make(self, folder: Path) -> None:
        """See `Layout`: a mirror that somebody removed begins again."""
        folder.mkdir(parents=True, exist_ok=True)

    def fetched(self, digest: str) -> Path:
        """See `Layout`."""
        file = self.artifact(digest)
        if not file.exists():
            with suppress(FileNotFoundError):
                self.download(self._artifact_name(digest), file)
        return file

    def artifact_bytes(self, digest: str) -> int | None:
        """See `Layout`."""
        here = super().artifact_bytes(digest)
        return self.objects.size_bytes(self._artifact_name(digest)) if here is None else here

    def share(self, finished: Path, digest: str) -> None:
        """See `Layout`."""
        name = self._artifact_name(digest)
        if self.objects.size_bytes(name) != finished.stat().st_size:
            self.objects.write(name, finished)

    def download(self, name: str, file: Path) -> None:
        """Bring an object that never changes.

        Raises:
            FileNotFoundError: If there is none.
        """
        partial = self.partial / uuid.uuid4().hex
        for folder in (partial.parent, file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            self.objects.download(name, partial)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)

    def tidy(self, counting: set[str]) -> None:
        """Remove segments that have counted no more for a while."""
        for folder in self.segments.glob("*/*"):
            gone = folder / _GONE
            with suppress(FileNotFoundError):
                if folder.name in counting:
                    continue
                if not gone.exists():
                    gone.touch()
                elif time.time() - gone.stat().st_mtime > LEASE_S:
                    shutil.rmtree(folder, ignore_errors=True)

    def _artifact_name(self, digest: str) -> str:
        return self.artifact(digest).relative_to(self.root).as_posix()


def _mirror(url: str, store_id: str) -> Path:
    folder = Path(os.environ.get("CC_RAY_CACHE") or "~/.cache/cc-ray").expanduser().absolute()
    # Others of this machine may not be allowed to read the bucket.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / identity([url, store_id])


def _each(do: Callable[[T], None], items: Iterable[T]) -> None:
    """Do something with each of several items, many at once."""
    items = list(items)
    if len(items) < 2:
        for item in items:
            do(item)
        return
    with ThreadPoolExecutor(min(AT_ONCE, len(items))) as pool:
        list(pool.map(do, items))


def _marker_name(kind: str, key: str) -> str:
    return f"{_PUBLISHED}/{kind}/{key}"


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()
