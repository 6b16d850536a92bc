"""What models predict most often, and how their predictions change most often from a base's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.behaviour.groups import flags
from cc_ray.compare.behaviour.keeping import keep
from cc_ray.compare.behaviour.pairing import each_paired, pairs
from cc_ray.compare.behaviour.summary import label_names
from cc_ray.compare.behaviour.values import Kind, Measure
from cc_ray.views import Views

Integers = NDArray[np.int64]


def prediction_changes(
    views: Views,
    model: str,
    base: str,
    limit: int = 5,
    *,
    label: int | None = None,
    where: str = "",
    measure: Measure = "true_probability",
    kind: Kind = "difference",
    between: Mapping[str, tuple[float, float]] | None = None,
) -> pa.Table:
    """The most frequent changes of prediction from a base to a model.

    Columns: base_prediction, base_prediction_name, prediction, prediction_name, count, share (of all instances that are
    looked at), lost, gained. Most frequent first.

    Args:
        views: The store.
        model: Model.
        base: Model that it is compared with; or "@parent" or "@base".
        limit: Number of rows at most.
        label: Only instances of this class.
        where: Only instances of which this is true, as for `measures`.
        measure: What `between` looks at.
        kind: How the measure is taken against the base.
        between: By model, ends of the interval (closed) in which its value lies; all of them must hold.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or one has no predictions.
        QueryError: If `where` is not an expression that is true or false.
    """
    kept = keep(views, base, label=label, where=where, between=between, measure=measure, kind=kind)
    ((pair, table),) = each_paired(views, pairs(views, [model], base), [])
    table = kept.rows(table)
    before, after = (_classes(table, name) for name in ("base_prediction", "prediction"))
    moved = before != after
    width = int(max(before.max(initial=0), after.max(initial=0))) + 1
    keys, codes, counts = np.unique(before * width + after, return_inverse=True, return_counts=True)
    lost, gained = (np.bincount(codes[flags(table[name])], minlength=len(keys)) for name in ("lost", "gained"))
    chosen = _largest(counts, keys, limit, keys // width != keys % width) if moved.any() else np.empty(0, np.int64)
    keys, counts = keys[chosen], counts[chosen]
    found = pa.table(
        {
            "base_prediction": pa.array(keys // width, pa.int32()),
            "prediction": pa.array(keys % width, pa.int32()),
            "count": counts,
            "share": counts / max(len(table), 1),
            "lost": lost[chosen],
            "gained": gained[chosen],
        }
    )
    for place, name in ((1, "base_prediction"), (3, "prediction")):
        found = found.add_column(place, f"{name}_name", label_names(views, pair.base, found[name]))
    return found


def frequent_predictions(
    views: Views,
    model: str,
    base: str,
    limit: int = 5,
    *,
    label: int | None = None,
    where: str = "",
    measure: Measure = "true_probability",
    kind: Kind = "difference",
    between: Mapping[str, tuple[float, float]] | None = None,
) -> pa.Table:
    """The most frequent predictions of a model, over the instances that a base answered too.

    Columns: prediction, prediction_name, count, share (of all instances that are looked at), base_count (how often the
    base predicts it there), correct (how many of them are right). Most frequent first.

    Args:
        views: The store.
        model: Model; or the base.
        base: Model that it is compared with; or "@parent" or "@base".
        limit: Number of rows at most.
        label: Only instances of this class.
        where: Only instances of which this is true, as for `measures`.
        measure: What `between` looks at.
        kind: How the measure is taken against the base.
        between: By model, ends of the interval (closed) in which its value lies; all of them must hold.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or one has no predictions.
        QueryError: If `where` is not an expression that is true or false.
    """
    kept = keep(views, base, label=label, where=where, between=between, measure=measure, kind=kind)
    ((pair, table),) = each_paired(views, pairs(views, [model], base), [])
    table = kept.rows(table)
    before, after = (_classes(table, name) for name in ("base_prediction", "prediction"))
    width = int(max(before.max(initial=0), after.max(initial=0))) + 1
    counts, base_counts = (np.bincount(values, minlength=width) for values in (after, before))
    correct = np.bincount(after[flags(table["correct"])], minlength=width)
    chosen = _largest(counts, np.arange(width), limit, counts > 0)
    found = pa.table(
        {
            "prediction": pa.array(chosen, pa.int32()),
            "count": counts[chosen],
            "share": counts[chosen] / max(len(table), 1),
            "base_count": base_counts[chosen],
            "correct": correct[chosen],
        }
    )
    return found.add_column(1, "prediction_name", label_names(views, pair.base, found["prediction"]))


def _classes(table: pa.Table, name: str) -> Integers:
    values: Integers = table[name].to_numpy().astype(np.int64)
    return values


def _largest(counts: Integers, keys: Integers, limit: int, among: NDArray[np.bool_]) -> Any:
    """Places of the largest counts; of equal ones the smallest key first."""
    places = np.flatnonzero(among)
    return places[np.lexsort((keys[places], -counts[places]))][: max(limit, 0)]
