"""How the predictions of models differ from those of a base: in sum, by class, and by kind of change.

Notation: a base and a model answer the same n instances; b of them only the base gets right, c only the model.
Flips are (b + c) / n, net is (c - b) / n.

In every question the base is one model for all, or `"@parent"` or `"@base"`: each model's own parent, or the base model
that its recipe starts from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import column, origins, remembered
from cc_ray.compare.behaviour.groups import Groups, flags, numbers
from cc_ray.compare.behaviour.pairing import Pair, each_paired, pairs
from cc_ray.compare.statistics.intervals import holm, mcnemar, paired_bootstrap, wilson
from cc_ray.views import Views


def behaviours(views: Views, ids: Iterable[str], base: str) -> pa.Table:
    """Compare the predictions of models with a base's, over all instances that both answered.

    Columns: model_id, name, base_id, n, accuracy, accuracy_low, accuracy_high (Wilson), base_accuracy, difference
    (accuracy - base_accuracy, which is net), difference_low, difference_high (paired bootstrap; too narrow where lost
    and gained are a handful: mcnemar_p has the last word), lost (b), gained (c), flips, net, agreement (share of
    instances with the same prediction), wrong_to_different_wrong (share), mcnemar_p, kl_mean, kl_median, kl_p90,
    kl_p99, kl_max (of the model from the base, in nats; null where a model has no probabilities).

    Args:
        views: The store.
        ids: Models, in the order of the answer's rows; the base may be among them.
        base: Model that they are compared with; or "@parent" or "@base".

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or one has no predictions.
    """
    wanted = pairs(views, ids, base)
    found = _all_counted(views, wanted, by_class=False)
    return _judged(named(views, found, wanted)).select(_BEHAVIOURS)


def behaviours_by_class(views: Views, ids: Iterable[str], base: str) -> pa.Table:
    """Compare the predictions of models with a base's, class by class.

    Columns: model_id, name, base_id, label, label_name, n, accuracy, accuracy_low, accuracy_high, base_accuracy,
    difference, difference_low, difference_high, lost, gained, flips, net, agreement, mcnemar_p, holm_p (corrected over
    the model's classes), kl_mean. Sorted by model, then label.

    Args:
        views: The store.
        ids: Models, in the order of the answer's rows.
        base: Model that they are compared with; or "@parent" or "@base".

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or one has no predictions.
    """
    wanted = pairs(views, ids, base)
    found = _all_counted(views, wanted, by_class=True)
    found = _judged(named(views, found, wanted))
    found = found.append_column("label_name", label_names(views, wanted[0].base, found["label"]))
    return found.append_column("holm_p", pa.array(holm_by_model(found, found["mcnemar_p"].to_numpy()))).select(_CLASSES)


def class_names(views: Views, model: str) -> dict[int, str]:
    """Name of each class of a model's task, by label."""
    text = "SELECT class_names FROM tasks JOIN models USING (task_id) WHERE model_id = ?"
    found = remembered(views, f"classes of {model}", lambda: column(views, text, [model]))
    return dict(enumerate(found[0])) if found else {}


def label_names(views: Views, model: str, labels: pa.ChunkedArray) -> pa.ChunkedArray:
    """What labels mean in a model's task: the name of the class, else the number; null where the label is null."""
    coded = labels.combine_chunks().dictionary_encode()
    names = class_names(views, model)
    texts = pa.array([names.get(label, str(label)) for label in coded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([texts.take(coded.indices)])


def holm_by_model(found: pa.Table, p: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values corrected over each model's rows; NaN stays."""
    ids = found["model_id"].to_numpy(zero_copy_only=False)
    corrected = np.full(len(p), np.nan)
    for model_id in dict.fromkeys(ids):
        own = (ids == model_id) & ~np.isnan(p)
        corrected[own] = holm(p[own])
    return corrected


def named(views: Views, found: pa.Table, wanted: Sequence[Pair]) -> pa.Table:
    """The rows with the models' names, in the order that was asked for."""
    ids = [pair.model for pair in wanted]
    known_ = origins(views)
    place = {model_id: index for index, model_id in enumerate(ids)}
    own = found["model_id"].to_pylist()
    found = found.append_column("name", pa.array([known_[model_id].name for model_id in own], pa.string()))
    return found.take(pa.array(np.argsort([place[model_id] for model_id in own], kind="stable")))


_COUNTS: Final = ("n", "accuracy", "accuracy_low", "accuracy_high", "base_accuracy")
_CHANGE: Final = ("difference", "difference_low", "difference_high", "lost", "gained", "flips", "net", "agreement")
_BEHAVIOURS: Final = [
    "model_id", "name", "base_id", *_COUNTS, *_CHANGE, "wrong_to_different_wrong", "mcnemar_p",
    "kl_mean", "kl_median", "kl_p90", "kl_p99", "kl_max",
]  # fmt: skip
_CLASSES: Final = [
    "model_id", "name", "base_id", "label", "label_name", *_COUNTS, *_CHANGE, "mcnemar_p", "holm_p", "kl_mean"
]  # fmt: skip


def _counted(pair: Pair, table: pa.Table, *, by_class: bool) -> pa.Table:
    """Counts over all instances of a pair, or over those of each class."""
    groups = Groups.of(table["label"].to_numpy() if by_class else np.zeros(len(table), np.int8))
    correct, base_correct, lost, gained, agree = (
        flags(table[name]) for name in ("correct", "base_correct", "lost", "gained", "agree")
    )
    counts = {
        "model_id": pa.array([pair.model] * len(groups.keys), pa.string()),
        "base_id": pa.array([pair.base] * len(groups.keys), pa.string()),
        "n": groups.counts,
        "correct": groups.count(correct),
        "base_correct": groups.count(base_correct),
        "lost": groups.count(lost),
        "gained": groups.count(gained),
        "agreement": groups.count(agree) / groups.counts,
    }
    known = not table["kl"].null_count
    kl = numbers(table["kl"])
    mean = {"kl_mean": groups.mean(kl) if known else pa.nulls(len(groups.keys), pa.float64())}
    if by_class:
        return pa.table({**counts, "label": pa.array(groups.keys, pa.int32()), **mean})
    wrong = groups.count(~(correct | base_correct | agree)) / groups.counts
    ends = [*np.quantile(kl, [0.5, 0.9, 0.99]), kl.max()] if known else [None] * 4
    names = ("kl_median", "kl_p90", "kl_p99", "kl_max")
    spread = {name: pa.array([end], pa.float64()) for name, end in zip(names, ends, strict=True)}
    return pa.table({**counts, "wrong_to_different_wrong": wrong, **mean, **spread})


def _all_counted(views: Views, wanted: Sequence[Pair], *, by_class: bool) -> pa.Table:
    return pa.concat_tables(
        [_counted(pair, table, by_class=by_class) for pair, table in each_paired(views, wanted, ["kl"])]
    )


def _judged(found: pa.Table) -> pa.Table:
    names = ("n", "correct", "base_correct", "lost", "gained")
    n, correct, base_correct, lost, gained = (found[name].to_numpy() for name in names)
    low, high = wilson(correct, n)
    difference_low, difference_high = paired_bootstrap(lost, gained, n)
    added = {
        "accuracy": correct / n,
        "accuracy_low": low,
        "accuracy_high": high,
        "base_accuracy": base_correct / n,
        "difference": (gained - lost) / n,
        "difference_low": difference_low,
        "difference_high": difference_high,
        "flips": (lost + gained) / n,
        "net": (gained - lost) / n,
        "mcnemar_p": mcnemar(lost, gained),
    }
    for name, values in added.items():
        found = found.append_column(name, pa.array(values))
    return found
