"""What stands out among recorded models, in plain sentences, each with the query that shows it.

A rule is a generator over a `Scene`: one task's models, each beside its parent and its base. It yields an `Insight`
where something is more than noise (or where being noise is the point), and is listed in `RULES` with its weight.

**Chance.** Accuracies of two models over the same instances are compared in pairs: McNemar's test, and the interval of
Bonett and Price. Without predictions the recorded intervals are used, as if they were of different instances: wider.
Where a store has none (an imported file), a change below one point counts as nothing, and what is found counts half.
P-values are corrected by Holm over everything that the rule looked at within the task.

**Order.** Effects of different units become comparable as size = (end of the interval nearest to nothing) / (an effect
that anybody calls large: ten points, a factor of two, 20 dB), strength = size / (1 + size). The score is strength x
weight of the rule / k for a rule's k-th strongest insight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pyarrow as pa

from cc_ray.compare.asking import Row, known, rows
from cc_ray.compare.insights.costs import constant_metric, dominated, idle_sparsity, latency_within_noise
from cc_ray.compare.insights.insight import SCHEMA, Insight, ranked
from cc_ray.compare.insights.scene import Scene
from cc_ray.compare.insights.slices import carried_away, churn, flip_cluster, one_answer, worst_slice
from cc_ray.compare.insights.steps import (
    cheapest_step,
    free_quantization,
    nothing_changed,
    order_matters,
    recovery,
)
from cc_ray.compare.insights.sweeps import knee
from cc_ray.compare.insights.tensors import sqnr_collapse
from cc_ray.compare.labels import Labels
from cc_ray.compare.models import models
from cc_ray.errors import NotComparableError
from cc_ray.stopping import go_on
from cc_ray.views import Views

Rule = Callable[[Scene], Iterator[Insight]]

RULES: Final[tuple[tuple[Rule, float], ...]] = (
    (cheapest_step, 1.0),
    (carried_away, 1.0),
    (worst_slice, 1.0),
    (recovery, 1.0),
    (one_answer, 1.0),
    (knee, 0.9),
    (flip_cluster, 0.9),
    (free_quantization, 0.9),
    (order_matters, 0.9),
    (sqnr_collapse, 0.8),
    (dominated, 0.8),
    (idle_sparsity, 0.8),
    (churn, 0.8),
    (latency_within_noise, 0.7),
    (nothing_changed, 0.6),
    (constant_metric, 0.4),
)
"""Every rule with what it counts in the order: the more it changes what somebody does next, the more."""
WEIGHTS: Final = {rule.__name__: weight for rule, weight in RULES}

__all__ = ["RULES", "Insight", "Scene", "insights", "noticed"]


def insights(views: Views, ids: Iterable[str] | None = None, base: str | None = None, limit: int = 20) -> pa.Table:
    """What stands out, strongest first.

    Columns: rank, rule, sentence, model_id (null where it is about all models), name, kind (loss, gain or doubt),
    effect, effect_unit, p_value (Holm-corrected; null where nothing was tested), score, evidence (SQL that gives the
    sentence's numbers in one row), view (where to look: Overview, Behaviours or Layers).

    Args:
        views: The store.
        ids: Models that it is to be about; without it all of them.
        base: What models are compared with beside their parents; without it each one's own base model.
        limit: Number of rows at most.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If a base is given and a model is of another task, or `limit` is negative.
    """
    if limit < 0:
        raise NotComparableError(f"limit={limit} is not a number of rows. Allowed: 0 and more.")
    everything = _measured(views)
    return _table(ranked(_noticed(views, everything, ids, base), WEIGHTS)[:limit], everything)


def noticed(views: Views, ids: Iterable[str] | None = None, base: str | None = None) -> Iterator[Insight]:
    """Everything that the rules find, in their order; arguments and errors as of `insights`."""
    return _noticed(views, _measured(views), ids, base)


def _measured(views: Views) -> dict[str, Row]:
    """Rows of `models` by model_id; a value that is NaN or infinite was not measured."""
    found = models(views).to_pylist()
    return {row["model_id"]: {name: None if _broken(value) else value for name, value in row.items()} for row in found}


def _broken(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _noticed(
    views: Views, everything: dict[str, Row], ids: Iterable[str] | None, base: str | None
) -> Iterator[Insight]:
    wanted = known(views, ids) if ids is not None else _all_of(everything, *known(views, [base] if base else []))
    for scene in _scenes(views, everything, wanted, base):
        for rule, _ in RULES:
            go_on()
            yield from rule(scene)


def _all_of(everything: dict[str, Row], *base: str) -> list[str]:
    """All models; with a base those of its task."""
    tasks = {everything[model_id]["task_id"] for model_id in base}
    return [model_id for model_id, row in everything.items() if not tasks or row["task_id"] in tasks]


def _scenes(views: Views, everything: dict[str, Row], wanted: list[str], base: str | None) -> Iterator[Scene]:
    tasks = dict.fromkeys(everything[model_id]["task_id"] for model_id in wanted)
    if base is not None and set(tasks) - {everything[base]["task_id"]}:
        raise NotComparableError(
            f"the base '{base}' is of task {everything[base]['task_id']}, but models of {', '.join(tasks)} are asked "
            "for: name a base of their task, or leave it out."
        )
    definitions = {row["metric"]: row for row in rows(views, "FROM metric_definitions")}
    labels = Labels(everything)
    for task in tasks:
        of_task = {model_id: row for model_id, row in everything.items() if row["task_id"] == task}
        yield Scene(views, of_task, wanted, base, labels, definitions)


def _table(told: list[tuple[float, Insight]], everything: dict[str, Row]) -> pa.Table:
    found = [
        {
            "rank": rank,
            "rule": one.rule,
            "sentence": one.sentence,
            "model_id": one.model_id,
            "name": everything[one.model_id]["name"] if one.model_id else None,
            "kind": one.kind,
            "effect": one.effect,
            "effect_unit": one.unit,
            "p_value": one.p_value,
            "score": score,
            "evidence": one.evidence,
            "view": one.view,
        }
        for rank, (score, one) in enumerate(told, 1)
    ]
    return pa.Table.from_pylist(found, SCHEMA)
