"""How predictions move from a base to a model, and which errors models share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
import pyarrow as pa

from cc_ray.compare.asking import answered, comparable, known, named_in
from cc_ray.compare.behaviour.aligned import Aligned, aligned
from cc_ray.compare.behaviour.summary import class_names
from cc_ray.compare.statistics.intervals import wilson
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

MOST_MODELS: Final = 8
"""Models whose errors are intersected: their patterns double with each."""


def transition_matrix(views: Views, model: str, base: str, *, by_label: bool = False) -> pa.Table:
    """What became of a base's predictions under a model: a row for each pair of predictions that occurs.

    Columns: base_prediction, base_prediction_name, prediction, prediction_name, count, share (of the instances with
    this base prediction: rows of the matrix add up to 1), share_low, share_high (Wilson), lost, gained; `by_label` puts
    label, label_name before them and takes the shares within the label as well. In order of the classes.

    Args:
        views: The store.
        model: Model.
        base: Model that it is compared with.
        by_label: One matrix for each true class.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or one has no predictions.
    """
    comparable(views, [model], base)
    answered(views, [model, base])
    keys = ["label", "base_prediction"] if by_label else ["base_prediction"]
    text = f"""
        SELECT
            {", ".join(keys)}, prediction, count(*) AS "count",
            sum(count(*)) OVER (PARTITION BY {", ".join(keys)})::BIGINT AS whole,
            count_if(lost)::BIGINT AS lost, count_if(gained)::BIGINT AS gained
        FROM pairs
        WHERE base_id = ? AND model_id = ?
        GROUP BY {", ".join(keys)}, prediction
        ORDER BY {", ".join(keys)}, prediction
    """
    found = _shares(views.sql(text, [base, model]))
    return _named(found, [*keys, "prediction"], views, base).select(
        [name for key in (*keys, "prediction") for name in (key, f"{key}_name")]
        + ["count", "share", "share_low", "share_high", "lost", "gained"]
    )


def confusion_matrices(views: Views, ids: Iterable[str]) -> pa.Table:
    """What models predict for each true class: a row for each prediction that occurs.

    Columns: model_id, name, label, label_name, prediction, prediction_name, count, share (of the model's answers to
    instances of this class: rows of the matrix add up to 1), share_low, share_high (Wilson). In order of the ids, then
    of the classes.

    Args:
        views: The store.
        ids: Models.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If there are none, they are of several tasks, or one has no predictions.
    """
    wanted = known(views, ids)
    comparable(views, wanted, wanted[0] if wanted else "")
    answered(views, wanted)
    chosen, given = named_in(wanted)
    # Counted before it is joined, so that no join holds the answers.
    text = f"""
        WITH counted AS (
            SELECT model_id, label, prediction, count(*) AS "count"
            FROM predictions
            WHERE {chosen}
            GROUP BY model_id, label, prediction
        )
        SELECT
            model_id, name, label, prediction, "count",
            sum("count") OVER (PARTITION BY model_id, label)::BIGINT AS whole
        FROM counted
        JOIN models USING (model_id)
        ORDER BY list_position(?, model_id), label, prediction
    """
    found = _shares(views.sql(text, [*given, wanted]))
    names = ["model_id", "name", "label", "label_name", "prediction", "prediction_name", "count", "share"]
    return _named(found, ["label", "prediction"], views, wanted[0]).select([*names, "share_low", "share_high"])


def error_overlap(views: Views, ids: Iterable[str], base: str) -> pa.Table:
    """Which models lose the same instances: a row for each set of models that alone loses an instance of the base's.

    An instance stands in one row: that of exactly the models that lose it, and not of the others. Counted are
    instances that the base gets right and that all answered.

    Columns: models (list of model_id, in the order of the ids), names, size (number of models), count, share (of the
    instances that the base gets right), share_low, share_high (Wilson), expected (count if the models lost instances
    independently of each other). Largest count first; sets that lose nothing have no row.

    Args:
        views: The store.
        ids: Models, at most `MOST_MODELS`; the base is left out.
        base: Model that they are compared with.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If there are too many models or none, they are of several tasks, or one has no predictions.
    """
    found = _lost(views, ids, base)
    wanted = list(found.ids[1:])
    if len(wanted) > MOST_MODELS:
        raise NotComparableError(
            f"{len(wanted)} models have too many intersections to look at. Allowed: {MOST_MODELS} at most; "
            "`lost_overlap` compares any number, two by two."
        )
    right = found.answered.all(axis=0) & found.correct[0]
    lost = found.lost[1:, right]
    counts: list[int] = np.bincount(2 ** np.arange(len(wanted)) @ lost).tolist()
    rates = lost.mean(axis=1) if right.any() else np.zeros(len(wanted))
    there = [(bits, count) for bits, count in enumerate(counts) if bits and count]
    rows = [_pattern(bits, count, rates, int(right.sum()), found) for bits, count in there]
    rows.sort(key=lambda row: (-row["count"], row["size"], row["models"]))
    return pa.Table.from_pylist(rows, _PATTERNS)


def lost_overlap(views: Views, ids: Iterable[str], base: str) -> pa.Table:
    """How much two models lose the same instances, for each two of any number of models.

    Columns: model_id, other_id, name, other_name, lost, other_lost, both, either, jaccard (both / either; null where
    neither loses any), jaccard_low, jaccard_high (Wilson). In the order of the ids; only instances that both answered.

    Args:
        views: The store.
        ids: Models; the base is left out.
        base: Model that they are compared with.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If there are none, they are of several tasks, or one has no predictions.
    """
    found = _lost(views, ids, base)
    lost, there = found.lost.astype(np.float32), found.answered.astype(np.float32)
    both, own = (lost @ lost.T).astype(np.int64), (lost @ there.T).astype(np.int64)
    pairs = list(combinations(range(1, len(found.ids)), 2))
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    shared = both[first, second]
    either = own[first, second] + own[second, first] - shared
    low, high = wilson(shared, np.maximum(either, 1))
    ids_, names, none = np.array(found.ids), np.array(found.names), either == 0
    return pa.table(
        {
            "model_id": pa.array(ids_[first], pa.string()),
            "other_id": pa.array(ids_[second], pa.string()),
            "name": pa.array(names[first], pa.string()),
            "other_name": pa.array(names[second], pa.string()),
            "lost": own[first, second],
            "other_lost": own[second, first],
            "both": shared,
            "either": either,
            "jaccard": pa.array(shared / np.maximum(either, 1), mask=none),
            "jaccard_low": pa.array(low, mask=none),
            "jaccard_high": pa.array(high, mask=none),
        }
    )


_PATTERNS: Final = pa.schema(
    {
        "models": pa.list_(pa.string()),
        "names": pa.list_(pa.string()),
        "size": pa.int64(),
        "count": pa.int64(),
        "share": pa.float64(),
        "share_low": pa.float64(),
        "share_high": pa.float64(),
        "expected": pa.float64(),
    }
)


def _lost(views: Views, ids: Iterable[str], base: str) -> Aligned:
    return aligned(views, [model_id for model_id in known(views, ids) if model_id != base], base)


def _pattern(bits: int, count: int, rates: Any, right: int, found: Aligned) -> dict[str, Any]:
    inside = (bits >> np.arange(len(rates))) & 1 == 1
    low, high = wilson(count, right)
    return {
        "models": [model_id for model_id, chosen in zip(found.ids[1:], inside, strict=True) if chosen],
        "names": [name for name, chosen in zip(found.names[1:], inside, strict=True) if chosen],
        "size": int(inside.sum()),
        "count": count,
        "share": count / right,
        "share_low": float(low),
        "share_high": float(high),
        "expected": float(right * np.prod(np.where(inside, rates, 1 - rates))),
    }


def _shares(found: pa.Table) -> pa.Table:
    count, whole = found["count"].to_numpy(), found["whole"].to_numpy()
    low, high = wilson(count, whole)
    for name, values in (("share", count / whole), ("share_low", low), ("share_high", high)):
        found = found.append_column(name, pa.array(values))
    return found


def _named(found: pa.Table, classes: Sequence[str], views: Views, model: str) -> pa.Table:
    names = class_names(views, model)
    for name in classes:
        labels = [names.get(label, str(label)) for label in found[name].to_pylist()]
        found = found.append_column(f"{name}_name", pa.array(labels, pa.string()))
    return found
