"""How much measures of single answers change from a base to models: on average, by class, and how it is distributed.

A measure has a value for each instance and model; against the base it is taken as difference, absolute difference or
ratio. Divergences compare two lists of probabilities and have no value of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy
from numpy.typing import NDArray

from cc_ray.compare.behaviour.groups import Groups, numbers
from cc_ray.compare.behaviour.keeping import keep
from cc_ray.compare.behaviour.loading import GROUP_ROWS, load_answers
from cc_ray.compare.behaviour.members import Membership
from cc_ray.compare.behaviour.pairing import Pair, each_paired, pairs
from cc_ray.compare.behaviour.summary import holm_by_model, label_names, named
from cc_ray.compare.behaviour.values import BASE, EPSILON, Kind, Measure, check_measure, computed, values_of
from cc_ray.compare.statistics.intervals import LEVEL, mcnemar
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_Values = tuple[str, Floats, Flags]
"""A model, its values, and which of them are kept."""

BINS: Final = 20


def measures(
    views: Views,
    ids: Iterable[str],
    base: str,
    measure: Measure = "true_probability",
    *,
    by_class: bool = False,
    by_slice: bool = False,
    label: int | None = None,
    where: str = "",
    kind: Kind = "difference",
    between: Mapping[str, tuple[float, float]] | None = None,
) -> pa.Table:
    """How a measure changes on average.

    Columns: model_id, name, base_id; label, label_name (null over all classes), slice (null
    unless by slice); measure, n (instances that have
    it under both), mean, base_mean, difference (mean of model - base), difference_low, difference_high (Student's t
    over the paired instances: a bootstrap of as many gives the same), absolute_difference (mean of |model - base|),
    ratio (mean of model / base), relative (difference / base_mean), p (chance of as large a difference if there were
    none: McNemar of `correct`, else Student's paired t), holm_p (corrected over the model's classes or slices). Of
    measures that compare two models (`agree` and divergences) there are only the mean and its ends, `mean_low` and
    `mean_high`, which are null otherwise. A class or slice of which no instance is left has no row.

    Args:
        views: The store.
        ids: Models, in the order of the answer's rows.
        base: Model that they are compared with; or "@parent" or "@base".
        measure: What is measured.
        by_class: A row for each class instead of one over all.
        by_slice: A row for each slice that instances name instead; an instance may be in several.
        label: Only instances of this class.
        where: Only instances of which this is true: an expression over their columns and the base's answer, such as
            `confidence < 0.6 AND label = 3`.
        kind: How `between` takes the measure.
        between: By model, ends of the interval (closed) in which its value lies; all of them must hold.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the measure or kind is unknown, the models are of several tasks, or one has no
            predictions.
        QueryError: If `where` is not an expression that is true or false.
    """
    check_measure(measure, kind)
    wanted = pairs(views, ids, base)
    kept = keep(views, base, label=label, where=where, between=between, measure=measure, kind=kind)
    slices = Membership(views, wanted[0].model) if by_slice else None
    each = [
        _averages(pair, kept.rows(table), measure, by_class=by_class, slices=slices)
        for pair, table in each_paired(views, wanted, computed(measure))
    ]
    found = named(views, pa.concat_tables(each), wanted)
    found = found.append_column("label_name", label_names(views, wanted[0].base, found["label"]))
    return _with_interval(found, alone=BASE[measure] is None).select(_COLUMNS)


def measure_distribution(
    views: Views,
    ids: Iterable[str],
    base: str,
    measure: Measure = "true_probability",
    kind: Kind = "difference",
    *,
    label: int | None = None,
    where: str = "",
    between: Mapping[str, tuple[float, float]] | None = None,
    bins: int = BINS,
) -> pa.Table:
    """How a measure's values are distributed over the instances, in bins common to all models.

    Columns: model_id, low, high (edges of the bin; the last one is closed), count, share, kept (how many of them lie in
    all intervals of `between`). `bins` rows a model, in the order of the ids; one bin where all values are equal.

    Args:
        views: The store.
        ids: Models.
        base: Model that they are compared with; or "@parent" or "@base".
        measure: What is measured.
        kind: How it is taken against the base.
        label: Only instances of this class.
        where: Only instances of which this is true, as for `measures`.
        between: By model, ends of the interval (closed) in which its value lies; all of them must hold. Bins stay those
            of all values.
        bins: Number of bins, 1 to 1000.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the measure or kind is unknown, `bins` is out of range, the models are of several tasks,
            or one has no predictions.
        QueryError: If `where` is not an expression that is true or false.
    """
    if not 1 <= bins <= 1_000:
        raise NotComparableError(f"{bins} bins are asked for: allowed are 1 to 1000.")
    check_measure(measure, kind)
    wanted = pairs(views, ids, base)
    asked = keep(views, base, label=label, where=where)
    kept = keep(views, base, between=between, measure=measure, kind=kind)

    def values() -> Iterator[_Values]:
        for pair, table in each_paired(views, wanted, computed(measure)):
            rows = asked.rows(table)
            own = numbers(values_of(rows, measure, kind))
            there = np.isfinite(own)
            yield pair.model, own[there], kept.flags(rows)[there]

    # Once for the ends and once to count, where the values of all models need not be in memory.
    few = len(wanted) * len(load_answers(views, [wanted[0].base])[wanted[0].base].instances) <= GROUP_ROWS
    held = list(values()) if few else None

    def each() -> Iterable[_Values]:
        return values() if held is None else held

    ends = [(own.min(), own.max()) for _, own, _ in each() if len(own)]
    low, high = (min(end[0] for end in ends), max(end[1] for end in ends)) if ends else (0.0, 0.0)
    edges = np.linspace(low, high, bins + 1) if high > low else np.array([low, low])
    return pa.concat_tables([_counted(model_id, own, inside, edges) for model_id, own, inside in each()])


_COLUMNS: Final = [
    "model_id", "name", "base_id", "label", "label_name", "slice", "measure", "n", "mean", "mean_low", "mean_high",
    "base_mean", "difference", "difference_low", "difference_high", "absolute_difference", "ratio", "relative", "p",
    "holm_p",
]  # fmt: skip


def _averages(pair: Pair, table: pa.Table, measure: str, *, by_class: bool, slices: Membership | None) -> pa.Table:
    """Means over all instances of a pair that have the measure, or over those of each class or slice."""
    own, other = table[measure], BASE[measure]
    base = pa.chunked_array([np.zeros(len(own))]) if other is None else table[other]
    if own.null_count or base.null_count:
        present = pc.and_(own.is_valid(), base.is_valid())
        table, own, base = table.filter(present), own.filter(present), base.filter(present)
    labels = table["label"].to_numpy() if by_class else np.zeros(len(own), np.int8)
    groups = Groups.of(labels) if slices is None else slices.of(table["instance"].to_numpy())
    own = numbers(own)
    count = len(groups.keys)
    change = own if other is None else own - numbers(base)
    means = groups.mean(change)
    squares = groups.sum(change**2) - groups.counts * means**2
    spread = np.sqrt(np.maximum(squares, 0) / np.maximum(groups.counts - 1, 1))
    spread[groups.counts < 2] = np.nan
    by_label = by_class and slices is None
    found = {
        "model_id": pa.repeat(pair.model, count),
        "base_id": pa.repeat(pair.base, count),
        "label": pa.array(groups.keys, pa.int32()) if by_label else pa.nulls(count, pa.int32()),
        "slice": pa.nulls(count, pa.string()) if slices is None else pa.array(groups.keys, pa.string()),
        "measure": pa.repeat(measure, count),
        "n": pa.array(groups.counts, pa.int64()),
        "change": means,
        "spread": spread,
        "less": groups.count(change < 0),
        "more": groups.count(change > 0),
    }
    if other is None:
        nulls = pa.nulls(count, pa.float64())
        return pa.table({**found, "mean": means, "base_mean": nulls, "absolute_difference": nulls, "ratio": nulls})
    against = {
        "mean": groups.mean(own),
        "base_mean": groups.mean(numbers(base)),
        "absolute_difference": groups.mean(np.abs(change)),
        "ratio": groups.mean(own / (numbers(base) + EPSILON)),
    }
    return pa.table({**found, **against})


def _with_interval(found: pa.Table, *, alone: bool) -> pa.Table:
    n, centre, spread = (found[name].to_numpy() for name in ("n", "change", "spread"))
    with np.errstate(invalid="ignore"):
        half = scipy.special.stdtrit(np.maximum(n - 1, 1), (1 + LEVEL) / 2) * spread / np.sqrt(n)
    ends = {"low": pa.array(centre - half, from_pandas=True), "high": pa.array(centre + half, from_pandas=True)}
    nulls = pa.nulls(len(found), pa.float64())
    for end, values in ends.items():
        found = found.append_column(f"mean_{end}", values if alone else nulls)
        found = found.append_column(f"difference_{end}", nulls if alone else values)
    if alone:
        for name in ("difference", "relative", "p", "holm_p"):
            found = found.append_column(name, nulls)
        return found
    p = _chances(found)
    for name, values in (("p", p), ("holm_p", holm_by_model(found, p))):
        found = found.append_column(name, pa.array(values, from_pandas=True))
    base = found["base_mean"].to_numpy()
    relative = np.divide(centre, base, out=np.full_like(centre, np.nan), where=base != 0)
    found = found.append_column("difference", found["change"])
    return found.append_column("relative", pa.array(relative, from_pandas=True))


def _chances(found: pa.Table) -> Floats:
    """P-value of each row that the measure differs from the base's, NaN where there is one instance."""
    if found["measure"][:1].to_pylist() == ["correct"]:
        return mcnemar(found["less"].to_numpy(), found["more"].to_numpy())
    n, centre, spread = (found[name].to_numpy() for name in ("n", "change", "spread"))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(centre == 0, 0.0, np.abs(centre) * np.sqrt(n) / spread)
    p: Floats = 2 * scipy.special.stdtr(np.maximum(n - 1, 1), -t)
    return np.where(n < 2, np.nan, p)


def _counted(model_id: str, values: Floats, kept: Flags, edges: Floats) -> pa.Table:
    bins, low, high = max(1, len(edges) - 1), edges[0], edges[-1]
    places = np.zeros(len(values), np.int64)
    if high > low:
        places = np.minimum(((values - low) / (high - low) * bins).astype(np.int64), bins - 1)
    counts = np.bincount(places, minlength=bins)
    return pa.table(
        {
            "model_id": pa.array([model_id] * bins, pa.string()),
            "low": edges[:-1],
            "high": edges[1:],
            "count": counts,
            "share": counts / max(1, len(values)),
            "kept": np.bincount(places[kept], minlength=bins),
        }
    )
