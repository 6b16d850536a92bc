"""How the predictions of models differ on subsets of the instances: named ones, conditions, and ones searched for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import scipy
from numpy.typing import NDArray

from cc_ray.compare.asking import one_task, remembered
from cc_ray.compare.behaviour.aligned import Aligned, aligned
from cc_ray.compare.behaviour.conditions import fulfilling
from cc_ray.compare.behaviour.summary import class_names
from cc_ray.compare.statistics.intervals import holm, mcnemar
from cc_ray.compare.statistics.significance import Counts
from cc_ray.errors import NotComparableError
from cc_ray.stopping import go_on
from cc_ray.views import Views

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

SMALLEST: Final = 30
"""Instances of the smallest slice that is searched."""
QUANTILES: Final = 5
"""Bins of equally many instances by what the base answered."""
EXPLAINED: Final = 0.8
"""A slice is redundant where one that is listed before holds this share of its flips."""
STANDARD_ERRORS: Final = 1.96
"""By how many an intersection has to differ from the rest of its slices to tell more than they do."""
SIGNIFICANT: Final = 0.05

_COUNTS: Final = ["n", "accuracy", "accuracy_low", "accuracy_high", "base_accuracy", "difference", "difference_low",
    "difference_high", "lost", "gained", "flips", "mcnemar_p", "holm_p"]  # fmt: skip


@dataclass(frozen=True)
class Slices:
    """Subsets of n instances."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    """Slices of one kind are not intersected: they exclude each other, or say the same."""
    conditions: tuple[str, ...]
    """Which instances are in it, as a plain condition."""
    members: Any
    """1 where an instance is in a slice, (slices, n), a sparse matrix."""

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        kinds: Sequence[str],
        conditions: Sequence[str],
        places: Sequence[Integers],
        n: int,
    ) -> Slices:
        """Slices from the positions of their instances."""
        ends = np.cumsum([0, *map(len, places)])
        index = np.concatenate([np.empty(0, np.int64), *places])
        members = scipy.sparse.csr_array((np.ones(len(index), np.int64), index, ends), (len(names), n))
        return cls(tuple(names), tuple(kinds), tuple(conditions), members)

    def __add__(self, other: Slices) -> Slices:
        members = scipy.sparse.vstack([self.members, other.members], format="csr")
        return Slices(self.names + other.names, self.kinds + other.kinds, self.conditions + other.conditions, members)

    def inside(self, places: Iterable[int]) -> NDArray[np.bool_]:
        """Which instances are in all of the slices at these places, (n,)."""
        found: NDArray[np.bool_] = np.ones(self.members.shape[1], bool)
        for place in places:
            found &= self.members[[place]].toarray()[0] > 0
        return found


def slice_behaviours(
    views: Views,
    ids: Iterable[str],
    base: str,
    slices: Iterable[str] | None = None,
    *,
    conditions: Mapping[str, str] | None = None,
) -> pa.Table:
    """Compare the predictions of models with a base's, slice by slice. An instance may be in several.

    Columns: model_id, name, slice, n, accuracy, accuracy_low, accuracy_high (Wilson), base_accuracy, difference,
    difference_low, difference_high (paired bootstrap), lost, gained, flips, mcnemar_p, holm_p (corrected over the
    model's slices). Of an empty slice n is 0 and the measures are null. In order of the ids, then of the slices.

    A condition is one SQL expression that is true or false for an instance. It may name the columns of `instances` and
    of the base's `predictions` (label, prediction, correct, confidence, true_probability, loss, margin, entropy): the
    slice is the same for every model. Such as `{"unsure": "confidence < 0.6", "big": "octet_length(payload) > 500"}`.

    Args:
        views: The store.
        ids: Models.
        base: Model that they are compared with.
        slices: Names out of the instances' slices; without them and conditions, all slices that the instances name.
        conditions: Conditions by the name that the answer gives them.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, one has no predictions, or the task has no such slice.
        QueryError: If a condition is not one expression over these columns that is true or false.
    """
    wanted = list(dict.fromkeys(ids))
    found = aligned(views, wanted, base)
    parts = [_named(views, found, slices)] if slices is not None or not conditions else []
    parts += [_conditions(views, found, conditions)] if conditions else []
    chosen = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    tables = [_model_slices(found, int(row), chosen) for row in found.rows(wanted)]
    return pa.concat_tables(tables).select(["model_id", "name", "slice", *_COUNTS])


def worst_slices(views: Views, model: str, base: str, limit: int = 10, *, smallest: int = SMALLEST) -> pa.Table:
    """Search for the slices on which a model's accuracy differs most from a base's.

    This explores: with so many slices some differ by chance. `holm_p` is corrected for all that were searched; what it
    does not call significant is a hint at most, and what it does is best checked on other instances.

    Searched are the classes, the named slices, quantiles of the base's confidence, entropy and absolute margin (its
    sign tells whether the base is right, and on the base's errors any model can only gain), and intersections of two of
    these. Significant ones come first, then the larger difference, whichever its sign. Two kinds are redundant and left
    out: an intersection whose difference is not larger than that of the rest of both of its slices by more than
    `STANDARD_ERRORS`, and a slice of whose flips one before it holds the share `EXPLAINED`.

    Columns: slice, parts (list: one name, or the two that are intersected), condition (an expression that chooses its
    instances, as `where` of `measures` takes it), n, share (of all instances), accuracy,
    accuracy_low, accuracy_high, base_accuracy, difference, difference_low, difference_high, lost, gained, flips,
    mcnemar_p, holm_p, searched (number of slices).

    Args:
        views: The store.
        model: Model.
        base: Model that it is compared with.
        limit: Number of slices at most.
        smallest: Instances of the smallest slice that is searched.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or one has no predictions.

    Source: Chung et al., 2019, "Slice Finder: Automated Data Slicing for Model Validation".
    """
    found = aligned(views, [model], base, ("correct", "confidence", "entropy", "margin"))
    row = int(found.rows([model])[0])
    searched = _distinct(_classes(views, found) + _named(views, found, None) + _quantiles(found))
    candidates = _candidates(searched, found, row, max(smallest, 1))
    order = candidates.order(searched)
    kept = list(_unexplained(order, candidates.pairs, searched, found.lost[row] | found.gained[row], limit))
    counts = Counts(*(values[kept] for values in candidates.counts))
    both = [list(dict.fromkeys(candidates.pairs[index].tolist())) for index in kept]
    parts = [[searched.names[place] for place in places] for places in both]
    conditions = [" AND ".join(searched.conditions[place] for place in places) for places in both]
    added = {
        "slice": pa.array([" and ".join(part) for part in parts], pa.string()),
        "parts": pa.array(parts, pa.list_(pa.string())),
        "condition": pa.array(conditions, pa.string()),
        "share": pa.array(counts.n / max(int(found.answered[row].sum()), 1)),
        "holm_p": pa.array(candidates.holm_p[kept]),
        "searched": pa.array([len(candidates.pairs)] * len(kept), pa.int64()),
    }
    return pa.table(counts.columns() | added).select(
        ["slice", "parts", "condition", "n", "share", *_COUNTS[1:], "searched"]
    )


@dataclass(frozen=True)
class _Candidates:
    pairs: Integers
    """Places of the two slices that are intersected, (candidates, 2); twice the same for a slice as it is."""
    counts: tuple[Integers, ...]
    """The fields of `Counts`, (candidates,) each."""
    holm_p: Floats
    telling: NDArray[np.bool_]
    """Whether it tells more than the slices that it intersects, (candidates,)."""

    def order(self, searched: Slices) -> list[int]:
        """From the most telling one on; of equals the larger, then the simpler, then by name."""
        n, _, _, lost, gained = self.counts
        difference = np.abs(gained - lost) / n
        names = [tuple(searched.names[place] for place in pair) for pair in self.pairs.tolist()]
        simple = self.pairs[:, 0] == self.pairs[:, 1]
        return sorted(
            np.flatnonzero(self.telling).tolist(),
            key=lambda at: (self.holm_p[at] >= SIGNIFICANT, -difference[at], -n[at], not simple[at], names[at]),
        )


def _model_slices(found: Aligned, row: int, chosen: Slices) -> pa.Table:
    flags = (found.answered, found.correct, found.base_correct, found.lost, found.gained)
    columns = Counts(*(chosen.members @ flag[row].astype(np.int64) for flag in flags)).columns()
    count = len(chosen.names)
    p = columns["mcnemar_p"].to_numpy(zero_copy_only=False)
    asked = ~np.isnan(p)
    corrected = np.full(count, np.nan)
    corrected[asked] = holm(p[asked])
    added = {
        "model_id": pa.array([found.ids[row]] * count, pa.string()),
        "name": pa.array([found.names[row]] * count, pa.string()),
        "slice": pa.array(chosen.names, pa.string()),
        "holm_p": pa.array(corrected, mask=~asked),
    }
    return pa.table(columns | added)


def named_instances(views: Views, task_id: str) -> dict[str, Integers]:
    """Instances of each named slice of a task, ascending, by its name in order."""
    text = """
        SELECT DISTINCT slice, instance
        FROM (SELECT instance, unnest(slices) AS slice FROM instances WHERE task_id = ?)
        ORDER BY slice, instance
    """

    def ask() -> dict[str, Integers]:
        table = views.sql(text, [task_id])
        names, first = np.unique(table["slice"].to_numpy().astype(str), return_index=True)
        return dict(zip(names.tolist(), np.split(table["instance"].to_numpy(), first[1:]), strict=False))

    return remembered(views, f"slices of {task_id}", ask)


def _named(views: Views, found: Aligned, wanted: Iterable[str] | None) -> Slices:
    there = named_instances(views, one_task(views, found.ids))
    chosen = list(there) if wanted is None else list(dict.fromkeys(wanted))
    for name in chosen:
        if name not in there:
            known = ", ".join(list(there)[:20]) or "none"
            raise NotComparableError(f"the task has no slice '{name}'. Its slices: {known}.")
    places = [_places(found, there[name]) for name in chosen]
    quoted = [name.replace("'", "''") for name in chosen]
    conditions = [f"list_contains(slices, '{name}')" for name in quoted]
    return Slices.of(chosen, [f"named {name}" for name in chosen], conditions, places, len(found.instances))


def _places(found: Aligned, instances: Integers) -> Integers:
    places: Integers = np.flatnonzero(np.isin(found.instances, instances, assume_unique=True))
    return places


def _conditions(views: Views, found: Aligned, conditions: Mapping[str, str]) -> Slices:
    places = [
        _places(found, fulfilling(views, found.ids[0], text, f"slice '{name}'")) for name, text in conditions.items()
    ]
    return Slices.of(list(conditions), list(conditions), list(conditions.values()), places, len(found.instances))


def _classes(views: Views, found: Aligned) -> Slices:
    names, labels = class_names(views, found.ids[0]), np.unique(found.labels).tolist()
    places = [np.flatnonzero(found.labels == label) for label in labels]
    called = [f"class {names.get(label, label)}" for label in labels]
    conditions = [f"label = {label}" for label in labels]
    return Slices.of(called, ["class"] * len(labels), conditions, places, len(found.instances))


def _quantiles(found: Aligned) -> Slices:
    names: list[str] = []
    conditions: list[str] = []
    places: list[Integers] = []
    for name, text, written in (
        ("confidence", "confidence", "confidence"),
        ("entropy", "entropy", "entropy"),
        ("margin", "|margin|", "abs(margin)"),
    ):
        values = np.abs(found.columns[name][0])
        if np.isnan(values).any():
            continue
        quantiles = np.quantile(values, np.linspace(0, 1, QUANTILES + 1)[1:-1])
        # As they are written: a condition chooses the same instances.
        edges = np.unique(np.array([f"{edge:.4g}" for edge in quantiles], np.float32))
        bins = np.searchsorted(edges, values)
        ends = [f"{edge:.4g}" for edge in edges]
        for bin_, (low, high) in enumerate(zip(["", *ends], [*ends, ""], strict=True)):
            names.append(f"base {text} {f'≤ {high}' if not low else f'> {low}' if not high else f'{low} to {high}'}")
            bounds = [f"{written} > {low}"] * bool(low) + [f"{written} <= {high}"] * bool(high)
            conditions.append(" AND ".join(bounds) or "true")
            places.append(np.flatnonzero(bins == bin_))
    return Slices.of(names, ["answer"] * len(names), conditions, places, len(found.instances))


def _distinct(slices: Slices) -> Slices:
    """The first of those with the same instances; none that is empty or holds them all."""
    members = slices.members
    held = [
        members.indices[start:end].tobytes() for start, end in zip(members.indptr, members.indptr[1:], strict=False)
    ]
    first = {key: place for place, key in reversed(list(enumerate(held)))}
    kept = [place for place in sorted(first.values()) if 0 < members[[place]].nnz < members.shape[1]]
    names, kinds, conditions = (
        tuple(values[place] for place in kept) for values in (slices.names, slices.kinds, slices.conditions)
    )
    return Slices(names, kinds, conditions, members[kept])


def _candidates(searched: Slices, found: Aligned, row: int, smallest: int) -> _Candidates:
    members = searched.members
    flags = (found.answered, found.correct, found.base_correct, found.lost, found.gained)
    weighed = [((members * flag[row].astype(np.int64)) @ members.T).toarray() for flag in flags]
    kinds = np.unique(searched.kinds, return_inverse=True)[1]
    own = weighed[0].diagonal()
    apart = kinds[:, None] != kinds[None, :]
    # An intersection that is all of one of its slices is that slice.
    smaller = (weighed[0] < own[:, None]) & (weighed[0] < own[None, :])
    allowed = np.triu((apart & smaller) | np.eye(len(own), dtype=bool)) & (weighed[0] >= smallest)
    first, second = np.nonzero(allowed)
    counts = tuple(values[first, second] for values in weighed)
    telling = [
        (first == second) | _tells_more(counts, [values.diagonal()[parent] for values in weighed])
        for parent in (first, second)
    ]
    p = holm(mcnemar(counts[3], counts[4]))
    return _Candidates(np.stack([first, second], axis=1), counts, p, np.logical_and(*telling))


def _tells_more(counts: Sequence[Integers], parent: Sequence[Integers]) -> NDArray[np.bool_]:
    """Whether the difference on subsets of slices is larger than on the rest of the slices; both in `Counts`' order."""
    n, _, _, lost, gained = counts
    mean, error = _mean_change(n, lost, gained)
    rest, rest_error = _mean_change(np.maximum(parent[0] - n, 1), parent[3] - lost, parent[4] - gained)
    more: NDArray[np.bool_] = np.abs(mean) - np.sign(mean) * rest > STANDARD_ERRORS * np.hypot(error, rest_error)
    return more


def _mean_change(n: Integers, lost: Integers, gained: Integers) -> tuple[Floats, Floats]:
    """Difference of the accuracies and its standard error."""
    mean = (gained - lost) / n
    return mean, np.sqrt(np.maximum((gained + lost) / n - mean**2, 0) / n)


def _unexplained(
    order: Sequence[int], pairs: Integers, searched: Slices, flipped: NDArray[np.bool_], limit: int
) -> Iterator[int]:
    """Candidates whose flips no earlier one explains, `limit` at most."""
    kept: list[NDArray[np.bool_]] = []
    for index in order:
        if len(kept) == limit:
            return
        go_on()
        flips = searched.inside(pairs[index].tolist()) & flipped
        if any((flips & other).sum() >= EXPLAINED * flips.sum() for other in kept):
            continue
        kept.append(flips)
        yield index
