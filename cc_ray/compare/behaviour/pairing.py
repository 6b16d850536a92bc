"""Models beside their bases, instance by instance: the table that all questions of behaviour are asked of.

`paired` lays the columns of each model and of its base next to each other, without copying where both answered the same
instances. What the lists of probabilities tell (divergences) is taken from the columns that a step recorded where the
base is the model's own base model or parent; else it is computed, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, repeat
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cc_ray.compare.asking import Origin, comparable, known, origins
from cc_ray.compare.behaviour.loading import THREADS, Answers, Kept, in_groups, load_answers, load_probabilities
from cc_ray.divergence import Probabilities, Reference
from cc_ray.errors import NotComparableError
from cc_ray.stopping import go_on
from cc_ray.views import Views

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]

PARENT: Final = "@parent"
"""In place of a base: each model is compared with its own parent."""
ROOT: Final = "@base"
"""In place of a base: each model is compared with the base model that its recipe starts from."""

ITSELF: Final = "itself"

BOTH: Final = ("prediction", "correct", "confidence", "true_probability", "loss", "margin", "entropy")
"""Columns that stand in the table twice: the model's, and the base's as `base_<column>`."""
DIVERGENCES: Final = ("kl", "mse", "base_class_probability")
"""Columns that need both lists of probabilities."""
_RECORDED: Final = {"kl": "kl_from_", "mse": "mse_from_"}


@dataclass(frozen=True)
class Pair:
    """A model and what it is compared with."""

    model: str
    base: str
    role: str
    """parent or base, where the base is the model's own; itself, where they are the same; else empty."""


@dataclass(frozen=True)
class _Divergences:
    instances: Integers
    columns: dict[str, Floats]

    @property
    def size_bytes(self) -> int:
        return int(self.instances.nbytes + sum(values.nbytes for values in self.columns.values()))


_computed: Final[Kept[_Divergences]] = Kept(128 * 2**20, lambda value: value.size_bytes)


def pairs(views: Views, ids: Iterable[str], base: str) -> list[Pair]:
    """Which model is compared with which.

    Args:
        views: The store.
        ids: Models; those that lack a parent are left out where each is to be compared with its own.
        base: A model; or `PARENT` or `ROOT`.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If nothing is left to compare, or models are of several tasks.
    """
    own = base in (PARENT, ROOT)
    wanted = known(views, ids) if own else comparable(views, ids, base)
    origin = origins(views)
    if not own:
        return [Pair(model_id, base, _role(model_id, origin[model_id], base)) for model_id in wanted]
    role = base.removeprefix("@")
    found = [Pair(id, old, role) for id in wanted if (old := getattr(origin[id], role)) not in (None, id)]
    if not found:
        raise NotComparableError("none of the models has a parent: name one to compare them with, by `base`.")
    comparable(views, [pair.model for pair in found], found[0].base)
    return found


def paired(views: Views, wanted: Sequence[Pair], divergences: Sequence[str] = ()) -> pa.Table:
    """Every instance that a model and its base both answered, pair after pair.

    Columns: instance, label; each of `BOTH` and `base_<column>`; lost (only the base is right), gained (only the model
    is right), agree (same prediction); of the divergences asked for: kl (nats), mse, base_class_probability (the
    model's probability of the class that the base predicts); and model_id, base_id.

    Args:
        views: The store.
        wanted: Pairs, in the order of the rows.
        divergences: Some of `DIVERGENCES`; null where a model has no list of probabilities.

    Raises:
        NotComparableError: If a model has no predictions, or none of the base's instances.
    """
    tables = [
        table.append_column("model_id", _repeated(pair.model, len(table))).append_column(
            "base_id", _repeated(pair.base, len(table))
        )
        for pair, table in _laid_out(views, wanted, divergences)
    ]
    return pa.concat_tables(tables).unify_dictionaries()


def each_paired(
    views: Views, wanted: Sequence[Pair], divergences: Sequence[str] = ()
) -> Iterator[tuple[Pair, pa.Table]]:
    """As `paired`, but a table without identities for each pair, of which memory holds some at once."""
    for group in _groups(views, wanted):
        yield from _laid_out(views, group, divergences)


def _groups(views: Views, wanted: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
    base = wanted[0].base
    # Models of one task are evaluated on as many instances, more or less.
    return in_groups(wanted, len(load_answers(views, [base])[base].instances))


def _laid_out(views: Views, wanted: Sequence[Pair], divergences: Sequence[str]) -> list[tuple[Pair, pa.Table]]:
    found = load_answers(views, [id for pair in wanted for id in (pair.base, pair.model)])
    beside = {pair: _beside(found[pair.model], found[pair.base], pair) for pair in wanted}
    missing = [pair for pair in wanted if any(_known(beside[pair], pair, name) is None for name in divergences)]
    computed = _compute(views, missing, beside)
    return [(pair, _finished(beside[pair], pair, divergences, computed.get(pair))) for pair in wanted]


def _role(model: str, origin: Origin, base: str) -> str:
    if model == base:
        return ITSELF
    return next((role for role in ("base", "parent") if getattr(origin, role) == base), "")


def _beside(own: Answers, base: Answers, pair: Pair) -> pa.Table:
    if own.instances is base.instances or np.array_equal(own.instances, base.instances):
        instances, mine, theirs = own.instances, own.columns, base.columns
    else:
        instances, first, second = np.intersect1d(
            own.instances, base.instances, assume_unique=True, return_indices=True
        )
        mine = {name: column.take(pa.array(first)) for name, column in own.columns.items()}
        theirs = {name: column.take(pa.array(second)) for name, column in base.columns.items()}
    if not len(instances):
        raise NotComparableError(
            f"{pair.model} and {pair.base} answered no instance in common: compare models that were evaluated on the "
            "same data."
        )
    return pa.table(
        {
            "instance": pa.array(instances),
            **mine,
            **{f"base_{name}": theirs[name] for name in BOTH},
            "lost": pc.and_(theirs["correct"], pc.invert(mine["correct"])),
            "gained": pc.and_(mine["correct"], pc.invert(theirs["correct"])),
            "agree": pc.equal(mine["prediction"], theirs["prediction"]),
        }
    )


def _known(table: pa.Table, pair: Pair, name: str) -> pa.ChunkedArray | None:
    """A divergence, where no list of probabilities need be read for it."""
    if pair.role == ITSELF:
        zeros = pa.chunked_array([np.zeros(len(table), np.float32)])
        return table["confidence"] if name == "base_class_probability" else zeros
    column = table[_RECORDED[name] + pair.role] if pair.role and name in _RECORDED else None
    return None if column is None or column.null_count else column


def _finished(table: pa.Table, pair: Pair, wanted: Sequence[str], computed: _Divergences | None) -> pa.Table:
    columns = {name: table[name] for name in ("instance", "label", *BOTH, *(f"base_{name}" for name in BOTH))}
    columns |= {name: table[name] for name in ("lost", "gained", "agree")}
    for name in wanted:
        known_ = _known(table, pair, name)
        if known_ is None and computed is not None:
            known_ = pa.array(computed.columns[name])
        columns[name] = pa.nulls(len(table), pa.float32()) if known_ is None else known_
    return pa.table(columns)


def _repeated(text: str, count: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))


def _compute(views: Views, wanted: Sequence[Pair], beside: dict[Pair, pa.Table]) -> dict[Pair, _Divergences]:
    found: dict[Pair, _Divergences] = {}
    for pair in wanted:
        kept = _computed.get((views.root, pair.model, pair.base))
        if kept is not None:
            found[pair] = kept
    by_base = sorted((pair for pair in wanted if pair not in found), key=lambda pair: pair.base)
    for base, group in groupby(by_base, key=lambda pair: pair.base):
        for pair, value in _against(views, base, list(group), beside):
            found[pair] = value
            _computed.put((views.root, pair.model, pair.base), value)
    return found


def _against(
    views: Views, base: str, wanted: list[Pair], beside: dict[Pair, pa.Table]
) -> Iterator[tuple[Pair, _Divergences]]:
    """Compare models with one base, whose probabilities are read once for all that answered the same instances."""
    left = wanted
    while left:
        instances = beside[left[0]]["instance"].to_numpy()
        group = [pair for pair in left if np.array_equal(beside[pair]["instance"].to_numpy(), instances)]
        left = [pair for pair in left if pair not in group]
        classes = beside[group[0]]["base_prediction"].to_numpy()
        yield from _streamed(views, base, group, instances, classes)


def _streamed(
    views: Views, base: str, group: list[Pair], instances: Integers, classes: NDArray[np.int32]
) -> Iterator[tuple[Pair, _Divergences]]:
    sizes: list[int] = []
    streams = {pair: load_probabilities(views, pair.model, instances, _growing(sizes)) for pair in group}
    found = {
        pair: _Divergences(instances, {name: np.empty(len(instances), np.float32) for name in DIVERGENCES})
        for pair in group
    }
    filled = dict.fromkeys(group, 0)
    blocks = load_probabilities(views, base, instances)

    def prepared(instead_of: Reference | None) -> Reference | None:
        block = next(blocks, None)
        return None if block is None else Reference(block, instead_of)

    def fill(pair: Pair, reference: Reference) -> None:
        own = next(streams[pair], None)
        if own is not None and own.shape == reference.probabilities.shape:
            _fill(found[pair], reference, own, filled[pair], classes)
            filled[pair] += len(own)

    with ThreadPoolExecutor(THREADS) as threads:
        done: Reference | None = None
        coming = threads.submit(prepared, None)
        while (reference := coming.result()) is not None:
            # The base's next block is made ready while the models are compared with this one.
            coming = threads.submit(prepared, done)
            sizes.append(len(reference.probabilities))
            go_on()
            list(threads.map(fill, group, repeat(reference)))
            done = reference
    # Where a model or the base has no lists, or of another length, there is nothing to tell.
    yield from ((pair, value) for pair, value in found.items() if filled[pair] == len(instances))


def _growing(sizes: list[int]) -> Iterator[int]:
    """The items of a list that grows while they are asked for."""
    place = 0
    while place < len(sizes):
        yield sizes[place]
        place += 1


def _fill(
    found: _Divergences, reference: Reference, own: Probabilities, start: int, classes: NDArray[np.int32]
) -> None:
    rows_ = slice(start, start + len(own))
    found.columns["kl"][rows_], found.columns["mse"][rows_] = reference.compared(own)
    chosen = np.take_along_axis(own, classes[rows_, None].astype(np.int64), axis=1)[:, 0]
    found.columns["base_class_probability"][rows_] = chosen
