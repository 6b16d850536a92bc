"""How much measures of single answers change from a base to models: on average, by class, and how it is distributed.

A measure has a value for each instance and model; against the base it is taken as difference, absolute difference or
ratio. Divergences compare two lists of probabilities and have no value of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy
from numpy.typing import NDArray

from cc_ray.compare.behaviour.groups import Groups, numbers
from cc_ray.compare.behaviour.pairing import BOTH, DIVERGENCES, Pair, each_paired, pairs
from cc_ray.compare.behaviour.summary import label_names, named
from cc_ray.compare.statistics.intervals import LEVEL
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Floats = NDArray[np.float64]

Measure = Literal[
    "correct", "confidence", "true_probability", "loss", "margin", "entropy", "base_class_probability", "kl", "mse"
]
"""`base_class_probability` is the probability of the class that the base predicts; for the others see `predictions`."""
Kind = Literal["difference", "absolute", "ratio", "value"]
"""Model less base; that without its sign; model over base; the model's own value."""

BINS: Final = 20
EPSILON: Final = 1e-6
"""Added to the base's value that a ratio divides by."""
_BASE: Final[Mapping[str, str | None]] = {
    **{name: f"base_{name}" for name in BOTH},
    "base_class_probability": "base_confidence",
    "kl": None,
    "mse": None,
}
"""Column with the base's value."""


def measures(
    views: Views, ids: Iterable[str], base: str, measure: Measure = "true_probability", *, by_class: bool = False
) -> pa.Table:
    """How a measure changes on average.

    Columns: model_id, name, base_id; label, label_name (null over all classes); measure, n (instances that have
    it under both), mean, base_mean, difference (mean of model - base), difference_low, difference_high (Student's t
    over the paired instances: a bootstrap of as many gives the same), absolute_difference (mean of |model - base|),
    ratio (mean of model / base), relative (difference / base_mean). Of divergences there are only the mean and its
    ends, `mean_low` and `mean_high`, which are null otherwise.

    Args:
        views: The store.
        ids: Models, in the order of the answer's rows.
        base: Model that they are compared with; or "@parent" or "@base".
        measure: What is measured.
        by_class: A row for each class instead of one over all.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the measure is unknown, the models are of several tasks, or one has no predictions.
    """
    check_measure(measure, "value")
    wanted = pairs(views, ids, base)
    each = [
        _averages(pair, table, measure, by_class=by_class)
        for pair, table in each_paired(views, wanted, _needed(measure))
    ]
    found = named(views, pa.concat_tables(each), wanted)
    found = found.append_column("label_name", label_names(views, wanted[0].base, found["label"]))
    return _with_interval(found, alone=_BASE[measure] is None).select(_COLUMNS)


def measure_distribution(
    views: Views,
    ids: Iterable[str],
    base: str,
    measure: Measure = "true_probability",
    kind: Kind = "difference",
    *,
    label: int | None = None,
    bins: int = BINS,
) -> pa.Table:
    """How a measure's values are distributed over the instances, in bins common to all models.

    Columns: model_id, low, high (edges of the bin; the last one is closed), count, share. `bins` rows a model, in the
    order of the ids; one bin where all values are equal.

    Args:
        views: The store.
        ids: Models.
        base: Model that they are compared with; or "@parent" or "@base".
        measure: What is measured.
        kind: How it is taken against the base.
        label: Only instances of this class.
        bins: Number of bins, 1 to 1000.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the measure or kind is unknown, `bins` is out of range, the models are of several tasks,
            or one has no predictions.
    """
    if not 1 <= bins <= 1_000:
        raise NotComparableError(f"{bins} bins are asked for: allowed are 1 to 1000.")
    check_measure(measure, kind)
    wanted = pairs(views, ids, base)

    def values() -> Iterator[tuple[str, Floats]]:
        # Once for the ends and once to count: all values of all models need not be in memory.
        for pair, table in each_paired(views, wanted, _needed(measure)):
            own = numbers(values_of(table, measure, kind))
            chosen = np.isfinite(own) if label is None else np.isfinite(own) & (table["label"].to_numpy() == label)
            yield pair.model, own[chosen]

    ends = [(own.min(), own.max()) for _, own in values() if len(own)]
    low, high = (min(end[0] for end in ends), max(end[1] for end in ends)) if ends else (0.0, 0.0)
    edges = np.linspace(low, high, bins + 1) if high > low else np.array([low, low])
    return pa.concat_tables([_counted(model_id, own, edges) for model_id, own in values()])


def values_of(table: pa.Table, measure: str, kind: str) -> pa.ChunkedArray:
    """A measure's values against the base, of the rows of `paired`, (n,) in double precision.

    Raises:
        NotComparableError: If the measure or kind is unknown.
    """
    check_measure(measure, kind)
    own, other = table[measure].cast(pa.float64()), _BASE[measure]
    if kind == "value" or other is None:
        return own
    base = table[other].cast(pa.float64())
    match kind:
        case "ratio":
            return pc.divide(own, pc.add(base, EPSILON))
        case "absolute":
            return pc.abs(pc.subtract(own, base))
        case _:
            return pc.subtract(own, base)


def check_measure(measure: str, kind: str) -> None:
    """Make sure that there is such a measure and a way to take it.

    Raises:
        NotComparableError: If there is not.
    """
    for name, value, allowed in (("measure", measure, get_args(Measure)), ("kind", kind, get_args(Kind))):
        if value not in allowed:
            raise NotComparableError(f"{name}='{value}' is not known. Allowed: {', '.join(allowed)}.")


_COLUMNS: Final = [
    "model_id", "name", "base_id", "label", "label_name", "measure", "n", "mean", "mean_low", "mean_high", "base_mean",
    "difference", "difference_low", "difference_high", "absolute_difference", "ratio", "relative",
]  # fmt: skip


def _needed(measure: str) -> list[str]:
    return [measure] if measure in DIVERGENCES else []


def _averages(pair: Pair, table: pa.Table, measure: str, *, by_class: bool) -> pa.Table:
    """Means over all instances of a pair that have the measure, or over those of each class."""
    own, other = table[measure], _BASE[measure]
    base = pa.chunked_array([np.zeros(len(own))]) if other is None else table[other]
    labels = table["label"].to_numpy() if by_class else np.zeros(len(own), np.int8)
    if own.null_count or base.null_count:
        present = pc.and_(own.is_valid(), base.is_valid())
        own, base, labels = own.filter(present), base.filter(present), labels[present.to_numpy()]
    groups = Groups.of(labels)
    own = numbers(own)
    count = len(groups.keys)
    change = own if other is None else own - numbers(base)
    means = groups.mean(change)
    spread = np.sqrt(groups.sum((change - means[groups.codes]) ** 2) / np.maximum(groups.counts - 1, 1))
    spread[groups.counts < 2] = np.nan
    found = {
        "model_id": pa.repeat(pair.model, count),
        "base_id": pa.repeat(pair.base, count),
        "label": pa.array(groups.keys, pa.int32()) if by_class else pa.nulls(count, pa.int32()),
        "measure": pa.repeat(measure, count),
        "n": pa.array(groups.counts, pa.int64()),
        "change": means,
        "spread": spread,
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
        return found.append_column("difference", nulls).append_column("relative", nulls)
    base = found["base_mean"].to_numpy()
    relative = np.divide(centre, base, out=np.full_like(centre, np.nan), where=base != 0)
    found = found.append_column("difference", found["change"])
    return found.append_column("relative", pa.array(relative, from_pandas=True))


def _counted(model_id: str, values: Floats, edges: Floats) -> pa.Table:
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
        }
    )
