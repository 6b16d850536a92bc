"""How the predictions of models differ: in sum, by class, by kind of change and instance by instance.

Notation: a base and a model answer the same n instances; b of them only the base gets right, c only the model.
Flips are (b + c) / n, net is (c - b) / n.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import pyarrow as pa

from cc_ray.compare.asking import Row, answered, column, comparable, known, marks, one_task, rows
from cc_ray.compare.statistics import holm, mcnemar, paired_bootstrap, wilson
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Only = Literal["all", "disagree", "flipped", "lost", "gained", "wrong"]
"""Which instances: all; where a model predicts another class than the base; where only one of base and a model is
right; where only the base is; where only a model is; where every model is wrong."""
Sort = Literal["instance", "change", "loss"]
"""In which order: by identity; by the largest change of the true class's probability against the base; by the largest
loss."""

_ONLY: Final[Mapping[str, str]] = {
    "all": "true",
    "disagree": "bool_or(NOT agree)",
    "flipped": "bool_or(lost OR gained)",
    "lost": "bool_or(lost)",
    "gained": "bool_or(gained)",
    "wrong": "bool_and(NOT correct)",
}
_SORT: Final[Mapping[str, str]] = {
    "instance": "instance",
    "change": "max(abs(true_probability - base_true_probability)) DESC, instance",
    "loss": "max(loss) DESC, instance",
}
_ANSWER: Final = pa.struct(
    {
        "model_id": pa.string(),
        "prediction": pa.int32(),
        "prediction_name": pa.string(),
        "correct": pa.bool_(),
        "confidence": pa.float32(),
        "true_probability": pa.float32(),
        "loss": pa.float32(),
    }
)
_INSTANCES: Final = pa.schema(
    {
        "instance": pa.int64(),
        "label": pa.int32(),
        "label_name": pa.string(),
        "payload": pa.binary(),
        "payload_type": pa.string(),
        "answers": pa.list_(_ANSWER),
    }
)


@dataclass(frozen=True)
class Instances:
    """One page of instances."""

    table: pa.Table
    """A row per instance: instance, label, label_name, payload (null if the store has none), payload_type, and answers:
    a list with the base's and then each model's model_id, prediction, prediction_name, correct, confidence,
    true_probability, loss."""
    count: int
    """How many instances there are on all pages."""


def behaviours(views: Views, ids: Iterable[str], base: str) -> pa.Table:
    """Compare the predictions of models with a base's, over all instances.

    Columns: model_id, name, n, accuracy, accuracy_low, accuracy_high (Wilson), base_accuracy, difference
    (accuracy - base_accuracy, which is net), difference_low, difference_high (paired bootstrap), lost (b), gained (c),
    flips, net, agreement (share of instances with the same prediction), wrong_to_different_wrong (share), mcnemar_p,
    kl_mean, kl_median, kl_p90, kl_p99, kl_max (of the model from the base, in nats).

    Args:
        views: The store.
        ids: Models, in the order of the answer's rows; the base may be among them.
        base: Model that they are compared with.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or one has no predictions.
    """
    found = _compared(views, ids, base, "behaviours")
    return _judged(found).select(_BEHAVIOURS)


def behaviours_by_class(views: Views, ids: Iterable[str], base: str) -> pa.Table:
    """Compare the predictions of models with a base's, class by class.

    Columns: model_id, name, label, label_name, n, accuracy, accuracy_low, accuracy_high, base_accuracy, difference,
    difference_low, difference_high, lost, gained, flips, net, agreement, mcnemar_p, holm_p (corrected over the model's
    classes), kl_mean. Sorted by model, then label.

    Args:
        views: The store.
        ids: Models, in the order of the answer's rows.
        base: Model that they are compared with.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or one has no predictions.
    """
    found = _judged(_compared(views, ids, base, "class_behaviours"))
    names = class_names(views, base)
    labels = [names.get(label, str(label)) for label in found["label"].to_pylist()]
    found = found.append_column("label_name", pa.array(labels, pa.string()))
    return found.append_column("holm_p", pa.array(_holm_by_model(found))).select(_CLASSES)


def prediction_changes(views: Views, model: str, base: str, limit: int = 5) -> pa.Table:
    """The most frequent changes of prediction from a base to a model.

    Columns: base_prediction, prediction, base_prediction_name, prediction_name, count, share (of all instances), lost,
    gained. Most frequent first.

    Args:
        views: The store.
        model: Model.
        base: Model that it is compared with.
        limit: Number of rows at most.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, or one has no predictions.
    """
    comparable(views, [model], base)
    answered(views, [model, base])
    text = """
        WITH counted AS (
            SELECT
                base_prediction, prediction, count(*) AS "count", count(*) / sum(count(*)) OVER () AS share,
                count_if(lost)::BIGINT AS lost, count_if(gained)::BIGINT AS gained
            FROM pairs
            WHERE base_id = ? AND model_id = ?
            GROUP BY base_prediction, prediction
        )
        FROM counted
        WHERE base_prediction <> prediction
        ORDER BY "count" DESC, base_prediction, prediction
        LIMIT ?
    """
    found = views.sql(text, [base, model, limit])
    names = class_names(views, base)
    for name in ("prediction", "base_prediction"):
        labels = [names.get(label, str(label)) for label in found[name].to_pylist()]
        found = found.add_column(2, f"{name}_name", pa.array(labels, pa.string()))
    return found


def instances(
    views: Views,
    ids: Iterable[str],
    base: str,
    *,
    label: int | None = None,
    only: Only = "all",
    sort: Sort = "instance",
    limit: int = 50,
    offset: int = 0,
) -> Instances:
    """One page of instances with the answers of a base and of models.

    Args:
        views: The store.
        ids: Models; the base may be among them.
        base: Model that they are compared with; its answer comes first.
        label: Only instances of this class.
        only: Only instances of this kind.
        sort: Order of the instances.
        limit: Instances on a page.
        offset: Instances on the pages before.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, one has no predictions, or `only` or `sort` is unknown.
    """
    _check_choice("only", only, get_args(Only))
    _check_choice("sort", sort, get_args(Sort))
    others = [model_id for model_id in comparable(views, ids, base) if model_id != base]
    answered(views, [base, *others])
    # Alone, the base is compared with itself.
    judged = others or [base]
    text = f"""
        SELECT instance, any_value(label) AS label, count(*) OVER () AS "count"
        FROM pairs
        WHERE base_id = ? AND model_id IN {marks(judged)} AND (?::INT IS NULL OR label = ?::INT)
        GROUP BY instance
        HAVING {_ONLY[only]}
        ORDER BY {_SORT[sort]}
        LIMIT ? OFFSET ?
    """
    page = rows(views, text, [base, *judged, label, label, limit, offset])
    count = page[0]["count"] if page else _count_before(views, ids, base, label, only, offset)
    return Instances(_page(views, page, [base, *others]), count)


def class_names(views: Views, model: str) -> dict[int, str]:
    """Name of each class of a model's task, by label."""
    text = "SELECT class_names FROM tasks JOIN models USING (task_id) WHERE model_id = ?"
    found = column(views, text, [model])
    return dict(enumerate(found[0])) if found else {}


_COUNTS: Final = ("n", "accuracy", "accuracy_low", "accuracy_high", "base_accuracy")
_CHANGE: Final = ("difference", "difference_low", "difference_high", "lost", "gained", "flips", "net", "agreement")
_BEHAVIOURS: Final = [
    "model_id", "name", *_COUNTS, *_CHANGE, "wrong_to_different_wrong", "mcnemar_p",
    "kl_mean", "kl_median", "kl_p90", "kl_p99", "kl_max",
]  # fmt: skip
_CLASSES: Final = [
    "model_id", "name", "label", "label_name", *_COUNTS, *_CHANGE, "mcnemar_p", "holm_p", "kl_mean"
]  # fmt: skip


def _compared(views: Views, ids: Iterable[str], base: str, view: str) -> pa.Table:
    wanted = comparable(views, ids, base)
    answered(views, list(dict.fromkeys([*wanted, base])))
    order = ", label" if view == "class_behaviours" else ""
    text = f"""
        SELECT {view}.*, name
        FROM {view}
        JOIN models USING (model_id)
        WHERE base_id = ? AND model_id IN {marks(wanted)}
        ORDER BY list_position(?, model_id){order}
    """
    return views.sql(text, [base, *wanted, wanted])


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


def _holm_by_model(found: pa.Table) -> Any:
    ids, p = found["model_id"].to_numpy(zero_copy_only=False), found["mcnemar_p"].to_numpy()
    corrected = np.empty_like(p)
    for model_id in dict.fromkeys(ids):
        corrected[ids == model_id] = holm(p[ids == model_id])
    return corrected


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise NotComparableError(f"{name}='{value}' is not known. Allowed: {', '.join(allowed)}.")


def _count_before(views: Views, ids: Iterable[str], base: str, label: int | None, only: Only, offset: int) -> int:
    """How many instances there are when the page asked for lies behind the last one."""
    if offset == 0:
        return 0
    return instances(views, ids, base, label=label, only=only, limit=1).count


def _page(views: Views, page: list[Row], models: list[str]) -> pa.Table:
    wanted = [row["instance"] for row in page]
    names, answers = class_names(views, models[0]), _answers(views, wanted, models)
    shown = _shown(views, wanted, one_task(views, known(views, models)))
    found = [
        {
            "instance": row["instance"],
            "label": row["label"],
            "label_name": names.get(row["label"], str(row["label"])),
            **shown.get(row["instance"], {}),
            "answers": [
                {**answer, "prediction_name": names.get(answer["prediction"], str(answer["prediction"]))}
                for answer in answers[row["instance"]]
            ],
        }
        for row in page
    ]
    return pa.Table.from_pylist(found, _INSTANCES)


def _answers(views: Views, wanted: list[int], models: list[str]) -> dict[int, list[Row]]:
    text = f"""
        SELECT instance, model_id, prediction, correct, confidence, true_probability, loss
        FROM predictions
        WHERE model_id IN {marks(models)} AND instance IN {marks(wanted)}
        ORDER BY list_position(?, model_id)
    """
    answers: dict[int, list[Row]] = {instance: [] for instance in wanted}
    for row in rows(views, text, [*models, *wanted, models]):
        answers[row.pop("instance")].append(row)
    return answers


def _shown(views: Views, wanted: list[int], task_id: str) -> dict[int, Row]:
    text = f"""
        SELECT instance, payload, payload_type
        FROM instances
        WHERE task_id = ? AND instance IN {marks(wanted)}
    """
    return {row.pop("instance"): row for row in rows(views, text, [task_id, *wanted])}
