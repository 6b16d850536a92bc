"""The instances themselves: a page at a time, with every model's answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cc_ray.compare.asking import Row, comparable, known, marks, one_task, rows
from cc_ray.compare.behaviour.keeping import keep
from cc_ray.compare.behaviour.loading import Answers, grouped_answers, load_answers
from cc_ray.compare.behaviour.pairing import Pair, each_paired, pairs
from cc_ray.compare.behaviour.summary import class_names
from cc_ray.compare.behaviour.values import Kind, Measure, check_measure, computed, values_of
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Flags = NDArray[np.bool_]
Keys = NDArray[Any]
Places = slice | NDArray[np.int64]

Only = Literal["all", "disagree", "flipped", "lost", "gained", "wrong"]
"""Which instances: all; where a model predicts another class than the base; where only one of base and a model is
right; where only the base is; where only a model is; where every model is wrong."""
Sort = Literal["instance", "change", "loss", "measure"]
"""In which order: by identity; by the largest change of the true class's probability against the base; by the largest
loss; by the largest value of the measure, without its sign."""

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


def instances(
    views: Views,
    ids: Iterable[str],
    base: str,
    *,
    label: int | None = None,
    only: Only = "all",
    sort: Sort = "instance",
    measure: Measure = "true_probability",
    kind: Kind = "difference",
    between: Mapping[str, tuple[float, float]] | None = None,
    where: str = "",
    by: str | None = None,
    rising: bool = False,
    among: Sequence[int] | None = None,
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
        measure: What `between` and the order "measure" look at.
        kind: How the measure is taken against the base.
        between: By model, ends of the interval (closed) in which its value lies; all of them must hold.
        where: Only instances of which this is true, as for `measures`.
        by: The model whose values give the order; without it the largest of all models counts.
        rising: The smallest first, except by identity.
        among: Only these, in this order where `sort` is "instance".
        limit: Instances on a page.
        offset: Instances on the pages before.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, one has no predictions, or `only`, `sort`, `measure` or
            `kind` is unknown.
        QueryError: If `where` is not an expression that is true or false.
    """
    _check_choice("only", only, get_args(Only))
    _check_choice("sort", sort, get_args(Sort))
    check_measure(measure, kind)
    others = [model_id for model_id in comparable(views, ids, base) if model_id != base]
    # Alone, the base is compared with itself.
    wanted = pairs(views, others or [base], base)
    asked = _Asked(only, sort, measure, kind, by, rising)
    own = load_answers(views, [base])[base]
    kept = keep(views, base, label=label, where=where, between=between, measure=measure, kind=kind)
    chosen, keys = _judged(views, wanted, own, asked)
    chosen &= kept.flags(pa.table({"instance": own.instances, "label": own.columns["label"]}))
    if among is not None:
        chosen, keys = _among(own, among, chosen, keys, ordered=sort == "instance")
    places = _in_order(chosen, keys, offset + limit)
    page = [{"instance": int(own.instances[at]), "label": own.columns["label"][at].as_py()} for at in places.first]
    return Instances(_page(views, page[offset:], [base, *others]), places.count)


@dataclass(frozen=True)
class _Asked:
    """Which instances, and in which order."""

    only: Only
    sort: Sort
    measure: Measure
    kind: Kind
    by: str | None
    rising: bool

    @property
    def divergences(self) -> list[str]:
        """What must be computed for it."""
        return computed(self.measure) if self.sort == "measure" else []

    def keys(self, table: pa.Table) -> Keys:
        """By what instances are sorted, the largest first; -inf where a value is null."""
        match self.sort:
            case "change":
                values, signed = pc.subtract(table["true_probability"], table["base_true_probability"]), False
            case "loss":
                values, signed = table["loss"], True
            case _:
                values, signed = values_of(table, self.measure, self.kind), False
        found = _keys(values, signed=signed)
        return np.where(found == -np.inf, found, -found) if self.rising else found


def _judged(views: Views, wanted: Sequence[Pair], base: Answers, asked: _Asked) -> tuple[Flags, Keys]:
    """Which of the base's instances are asked for, and the largest key over the models, (n,) each."""
    n = len(base.instances)
    found, keys = _Found(n), np.full(n, -np.inf)
    for pair, table in each_paired(views, wanted, asked.divergences):
        there = table["instance"].to_numpy()
        places: Places = slice(None) if len(there) == n else np.searchsorted(base.instances, there)
        found.add(places, table, asked.only)
        if asked.sort != "instance" and asked.by in (None, pair.model):
            keys[places] = np.maximum(keys[places], asked.keys(table))
    return found.chosen(asked.only), keys


def _among(base: Answers, among: Sequence[int], chosen: Flags, keys: Keys, *, ordered: bool) -> tuple[Flags, Keys]:
    """Those of some instances that are chosen, with keys that keep their order where it is asked for."""
    there = set(base.instances.tolist())
    listed = np.array([instance for instance in dict.fromkeys(among) if instance in there], np.int64)
    places = np.searchsorted(base.instances, listed)
    found = np.zeros_like(chosen)
    found[places] = chosen[places]
    if ordered:
        keys = keys.copy()
        keys[places] = -np.arange(len(places), dtype=np.float64)
    return found, keys


class _Found:
    """What was seen of each instance, model after model."""

    def __init__(self, n: int) -> None:
        self._seen, self._any, self._spared = (np.zeros(n, bool) for _ in range(3))

    def add(self, places: Places, table: pa.Table, only: Only) -> None:
        """Look at one model's answers."""
        self._seen[places] = True
        match only:
            case "disagree":
                self._any[places] |= _true(pc.invert(table["agree"]))
            case "flipped":
                self._any[places] |= _true(table["lost"]) | _true(table["gained"])
            case "lost" | "gained":
                self._any[places] |= _true(table[only])
            case "wrong":
                self._any[places] |= _true(pc.invert(table["correct"]))
                self._spared[places] |= _true(table["correct"])

    def chosen(self, only: Only) -> Flags:
        """Instances that any model makes one of this kind; for "wrong" that no model gets right."""
        return self._seen if only == "all" else self._any & ~self._spared


@dataclass(frozen=True)
class _Places:
    first: list[int]
    count: int


def _in_order(chosen: Flags, keys: Keys, most: int) -> _Places:
    """The first places of those chosen, by falling key, then by rising place."""
    places = np.flatnonzero(chosen)
    falling = -keys[places]
    if 0 < most < len(places):
        # To sort a page is quicker than to sort all instances.
        near = falling <= np.partition(falling, most - 1)[most - 1]
        first, falling = places[near], falling[near]
    else:
        first = places
    order = np.argsort(falling, kind="stable")[:most]
    return _Places(first[order].tolist(), len(places))


def _keys(values: pa.ChunkedArray, *, signed: bool) -> Keys:
    known_ = values.to_numpy() if signed else np.abs(values.to_numpy())
    # What is not a number comes first: it is what somebody looks for.
    found: Keys = np.where(np.isnan(known_), np.inf, known_)
    return np.where(values.is_null().to_numpy(), -np.inf, found) if values.null_count else found


def _true(flags: pa.Array | pa.ChunkedArray) -> Flags:
    whole = pc.fill_null(flags, False)
    found: Flags = np.asarray(whole)
    return found


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise NotComparableError(f"{name}='{value}' is not known. Allowed: {', '.join(allowed)}.")


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


def _answers(views: Views, wanted: Sequence[int], models: Sequence[str]) -> dict[int, list[dict[str, Any]]]:
    """Each model's answer to each of the instances, where it gave one."""
    found: dict[int, list[dict[str, Any]]] = {instance: [] for instance in wanted}
    names = [name for name in _ANSWER.names if name not in ("model_id", "prediction_name")]
    asked = np.array(sorted(wanted), np.int64)
    each = (one for group in grouped_answers(views, models, names) for one in group.items()) if wanted else ()
    for model_id, own in each:
        places = np.searchsorted(own.instances, asked)
        places = places[own.instances[np.minimum(places, len(own.instances) - 1)] == asked]
        table = pa.table({name: own.columns[name].take(pa.array(places)) for name in names})
        for instance, row in zip(own.instances[places].tolist(), table.to_pylist(), strict=True):
            found[instance].append({"model_id": model_id, **row})
    return found


def _shown(views: Views, wanted: list[int], task_id: str) -> dict[int, Row]:
    text = f"""
        SELECT instance, payload, payload_type
        FROM instances
        WHERE task_id = ? AND instance IN {marks(wanted)}
    """
    return {row.pop("instance"): row for row in rows(views, text, [task_id, *wanted])}
