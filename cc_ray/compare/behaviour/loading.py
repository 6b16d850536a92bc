"""The answers of models as arrays: read once, kept while there is room.

What is published never changes, so what was read of a model stays right. Numbers that most questions need are kept; the
lists of probabilities are read again each time, a few thousand rows at once, and never held whole. Of more models than
there is room for, `grouped_answers` gives some after the others.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cc_ray.compare.asking import names_no_class
from cc_ray.divergence import Probabilities, probability_matrix
from cc_ray.errors import NotComparableError
from cc_ray.stopping import carried, go_on
from cc_ray.views import Views

Integers = NDArray[np.int64]
T = TypeVar("T")

NUMBERS: Final = (
    "label", "prediction", "correct", "confidence", "true_probability", "loss", "margin", "entropy",
    "kl_from_base", "kl_from_parent", "mse_from_base", "mse_from_parent",
)  # fmt: skip
"""Columns of `predictions` that are kept."""
KEPT_BYTES: Final = 384 * 2**20
"""How much is kept of all models together."""
GROUP_ROWS: Final = 6_000_000
"""How many answers are worked on at once, about; a row of all columns takes 60 bytes, beside a base's twice that."""
BLOCK_BYTES: Final = 2 * 2**20
"""How much of one model's probabilities is read and worked on at once, about: what fits a processor's cache."""
THREADS: Final = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Answers:
    """One model's answers, by instance."""

    instances: Integers
    """Identities, ascending, (n,)."""
    columns: Mapping[str, pa.Array]
    """The values of `NUMBERS`, each (n,)."""

    @property
    def size_bytes(self) -> int:
        """Bytes in memory."""
        return int(self.instances.nbytes + sum(column.nbytes for column in self.columns.values()))


class Kept(Generic[T]):
    """What was read or computed last, as long as there is room; safe from any number of threads.

    Args:
        room_bytes: How much is kept together.
        size: Bytes of one value.
    """

    def __init__(self, room_bytes: int, size: Callable[[T], int]) -> None:
        self._room, self._size = room_bytes, size
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """The value, if it is kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value; what was asked least recently goes where there is no room."""
        with self._lock:
            if key not in self._values and self._size(value) <= self._room:
                self._values[key] = value
                self._used += self._size(value)
                while self._used > self._room:
                    self._used -= self._size(self._values.popitem(last=False)[1])


_answers: Final[Kept[Answers]] = Kept(KEPT_BYTES, lambda value: value.size_bytes)


def load_answers(views: Views, ids: Iterable[str]) -> dict[str, Answers]:
    """The answers of models, read at most once.

    Raises:
        NotComparableError: If one of them has none, or generates text.
    """
    return _load(views, ids, NUMBERS, keep=True)


def grouped_answers(views: Views, ids: Iterable[str], columns: Iterable[str] = NUMBERS) -> Iterator[dict[str, Answers]]:
    """The answers of any number of models, some models at a time, about `GROUP_ROWS` answers together.

    Args:
        views: The store.
        ids: Models, in the order in which they come.
        columns: Those of `NUMBERS` that are needed; others may be there too.

    Raises:
        NotComparableError: If one of them has none.
    """
    wanted = list(dict.fromkeys(ids))
    for first in wanted[:1]:
        answers = load_answers(views, [first])[first]
        keep = answers.size_bytes * len(wanted) <= KEPT_BYTES
        names = NUMBERS if keep else tuple(dict.fromkeys(("label", *columns)))
        for group in in_groups(wanted, len(answers.instances)):
            yield _load(views, group, names, keep=keep)


def in_groups(items: Sequence[T], rows: int) -> Iterator[Sequence[T]]:
    """Items of about so many rows each, as many at once as have `GROUP_ROWS` together."""
    size = max(1, GROUP_ROWS // max(1, rows))
    return (items[start : start + size] for start in range(0, len(items), size))


def _load(views: Views, ids: Iterable[str], columns: Sequence[str], *, keep: bool) -> dict[str, Answers]:
    wanted = list(dict.fromkeys(ids))
    found = {model_id: _answers.get((views.root, model_id)) for model_id in wanted}
    missing = [model_id for model_id, value in found.items() if value is None]
    # Places are looked up before the threads start: the first look may read many files' footers.
    places = {model_id: _index(views).places(model_id) for model_id in missing}

    def read(model_id: str) -> Answers:
        return _read(places[model_id], model_id, columns)

    with ThreadPoolExecutor(THREADS) as threads:
        for model_id, value in zip(missing, threads.map(carried(read), missing), strict=True):
            value = _sharing(value, next((other for other in found.values() if other is not None), value))
            if keep:
                _answers.put((views.root, model_id), value)
            found[model_id] = value
    return {model_id: value for model_id, value in found.items() if value is not None}


def _sharing(answers: Answers, other: Answers) -> Answers:
    """The same answers; where another model answered the same instances, with its very array of them."""
    same = np.array_equal(answers.instances, other.instances)
    return Answers(other.instances, answers.columns) if same else answers


def load_probabilities(
    views: Views, model_id: str, instances: Integers, sizes: Iterable[int] | None = None
) -> Iterator[Probabilities]:
    """A model's probabilities for chosen instances, block after block, (block, classes) each.

    Nothing comes where the store has no lists of one length. A block is let go of before the next one is read.

    Args:
        views: The store.
        model_id: A model that answered all of the instances.
        instances: Identities, ascending.
        sizes: Lengths of the blocks, where they are to be those of another model; else as the files have them.
    """
    found = _matrices(_index(views).places(model_id), model_id, instances)
    if sizes is None:
        yield from found
        return
    waiting: list[Probabilities] = []
    for size in sizes:
        while sum(map(len, waiting)) < size:
            following = next(found, None)
            if following is None:
                return
            waiting.append(following)
            del following
        whole = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
        waiting = [whole[size:]] if len(whole) > size else []
        yield whole[:size]
        del whole


def _matrices(places: Sequence[_Place], model_id: str, instances: Integers) -> Iterator[Probabilities]:
    for place in places:
        for table in place.blocks(("instance", "probabilities"), model_id):
            go_on()
            matrix = probability_matrix(table["probabilities"])
            if matrix is None:
                return
            own = table["instance"].to_numpy()
            whole = _all_among(own, instances)
            yield matrix if whole else matrix[np.isin(own, instances, assume_unique=True)]


def _all_among(own: Integers, wanted: Integers) -> bool:
    """Whether a run of ascending identities stands whole among others."""
    first = int(np.searchsorted(wanted, own[0]))
    return np.array_equal(own, wanted[first : first + len(own)])


@dataclass(frozen=True)
class _Place:
    """A row group that holds rows of a model."""

    path: str
    metadata: Any
    group: int
    alone: bool
    """It holds no other model's rows."""

    def blocks(self, columns: Sequence[str], model_id: str) -> Iterator[pa.Table]:
        """The model's rows, about `BLOCK_BYTES` at a time."""
        group = self.metadata.row_group(self.group)
        rows = max(1, BLOCK_BYTES * group.num_rows // max(1, group.total_byte_size))
        with pq.ParquetFile(self.path, metadata=self.metadata) as file:
            names = self.names(file, columns)
            for batch in file.iter_batches(rows, row_groups=[self.group], columns=names, use_threads=False):
                table = self.own(pa.Table.from_batches([batch]), model_id)
                if len(table):
                    yield table

    def names(self, file: pq.ParquetFile, columns: Sequence[str]) -> list[str]:
        """Those of the columns that the file has, and what `own` needs."""
        there = [name for name in columns if name in file.schema_arrow.names]
        return there if self.alone else [*there, "model_id"]

    def own(self, table: pa.Table, model_id: str) -> pa.Table:
        """The model's rows of those that were read."""
        return table if self.alone else table.filter(pc.equal(table["model_id"], model_id)).drop_columns("model_id")


@dataclass(frozen=True)
class _Footer:
    """The row groups of one file, each with its least and its largest model_id."""

    groups: list[tuple[str, str, _Place]]
    size_bytes: int


_footers: Final[Kept[_Footer]] = Kept(64 * 2**20, lambda footer: footer.size_bytes)


class _Index:
    """Where the predictions of each model lie.

    A step's batch is named by its model, so its file is opened when that model is asked for. Of other files the
    statistics tell; and so of all, once a model is asked for that has no batch of its own name. Any number of threads
    may ask at once.
    """

    def __init__(self, views: Views) -> None:
        self._lock = threading.Lock()
        self._named: dict[str, Any] = {}
        self._alone: dict[str, list[_Place]] = {}
        self._shared: list[tuple[str, str, _Place]] = []
        batches = str(views.layout.batches("step"))
        for fragment in views.dataset("predictions").get_fragments():
            folder, _, key = fragment.path.rpartition("/")[0].rpartition("/")
            if folder == batches:
                self._named[key] = fragment
            else:
                self._add(fragment)

    def places(self, model_id: str) -> list[_Place]:
        """Row groups that may hold the model's rows, all that do among them."""
        # What one thread is about to open, another one must wait for: it would find nothing of the model.
        with self._lock:
            self._open(model_id)
            found = self._found(model_id)
            if not found and self._named:
                for key in list(self._named):
                    self._open(key)
                found = self._found(model_id)
            return found

    def _found(self, model_id: str) -> list[_Place]:
        shared = [place for low, high, place in self._shared if low <= model_id <= high]
        return [*self._alone.get(model_id, []), *shared]

    def _open(self, key: str) -> None:
        fragment = self._named.pop(key, None)
        if fragment is not None:
            self._add(fragment)

    def _add(self, fragment: Any) -> None:
        for low, high, place in _footer(fragment).groups:
            if place.alone:
                self._alone.setdefault(low, []).append(place)
            else:
                self._shared.append((low, high, place))


def _footer(fragment: Any) -> _Footer:
    footer = _footers.get(fragment.path)
    if footer is None:
        fragment.ensure_complete_metadata()
        metadata = fragment.metadata
        column = metadata.schema.names.index("model_id")
        groups = [_group(fragment.path, metadata, group, column) for group in range(metadata.num_row_groups)]
        footer = _Footer(groups, 4 * metadata.serialized_size + 1_000)
        _footers.put(fragment.path, footer)
    return footer


def _group(path: str, metadata: Any, group: int, column: int) -> tuple[str, str, _Place]:
    ends = metadata.row_group(group).column(column).statistics
    low, high = (ends.min, ends.max) if ends is not None and ends.has_min_max else ("", "\U0010ffff")
    return low, high, _Place(path, metadata, group, low == high)


_indexes: Final[WeakKeyDictionary[Views, _Index]] = WeakKeyDictionary()


def _index(views: Views) -> _Index:
    if views not in _indexes:
        _indexes[views] = _Index(views)
    return _indexes[views]


def _tables(places: Sequence[_Place], model_id: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The model's rows, all of a file at once."""
    for _, run in groupby(places, lambda place: (place.path, place.alone)):
        first, *more = run
        groups = [first.group, *(place.group for place in more)]
        with pq.ParquetFile(first.path, metadata=first.metadata, pre_buffer=True) as file:
            table = file.read_row_groups(groups, columns=first.names(file, columns), use_threads=False)
        table = first.own(table, model_id)
        if len(table):
            yield table


def _read(places: Sequence[_Place], model_id: str, columns: Sequence[str]) -> Answers:
    tables = list(_tables(places, model_id, ("instance", *columns)))
    if not tables:
        raise NotComparableError(
            f"there are no predictions of {model_id}: leave it out, or bring them in with `cc-ray import predictions`."
        )
    table = pa.concat_tables(tables, promote_options="default").combine_chunks()
    if table["label"].null_count:
        held = _tables(places, model_id, ("instance", "value"))
        numbers = any("value" in part.column_names and part["value"].null_count < len(part) for part in held)
        raise names_no_class(model_id, numbers=numbers)
    instances = table["instance"].to_numpy()
    if not (instances[1:] > instances[:-1]).all():
        raise NotComparableError(f"the store holds several answers of {model_id} to one instance: leave it out.")
    nulls = pa.nulls(len(table), pa.float32())
    there = set(table.column_names)
    return Answers(instances, {name: _whole(table[name]) if name in there else nulls for name in columns})


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
