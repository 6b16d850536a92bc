"""Several models beside a base, in all respects at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from cc_ray.compare.asking import AMONG, column, comparable, known
from cc_ray.compare.behaviour.summary import behaviours, behaviours_by_class
from cc_ray.compare.layers.tree import most_changed_of_each
from cc_ray.errors import NotComparableError
from cc_ray.views import Views


@dataclass(frozen=True)
class Comparison:
    """Models beside a base."""

    base: str
    """Identity of the base."""
    ids: tuple[str, ...]
    """Identities of the models, the base excluded."""
    metrics: pa.Table
    """A row per metric over all instances and model, the base's rows first: metric, label, unit, direction, format,
    primary, model_id, name, value, low, high, base_value, difference (value - base_value), in the metric's unit."""
    behaviours: pa.Table
    """As `behaviours` gives them."""
    classes: pa.Table
    """As `behaviours_by_class` gives them."""
    layers: pa.Table
    """As `most_changed_layers` gives them, model after model."""


def compare(views: Views, ids: Iterable[str], base: str | None = None) -> Comparison:
    """Put models beside a base.

    Args:
        views: The store.
        ids: Models.
        base: Model that they are compared with; without it the first of them, or the base model of a single one.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If there is nothing to compare, the models are of several tasks, or one has no predictions.
        StoreError: If saved weights are damaged.
    """
    wanted = known(views, ids)
    against = base or _usual_base(views, wanted)
    others = tuple(model_id for model_id in comparable(views, wanted, against) if model_id != against)
    if not others:
        raise NotComparableError("a model cannot be compared with itself alone: name a second model.")
    return Comparison(
        against,
        others,
        _metrics(views, [against, *others], against),
        behaviours(views, others, against),
        behaviours_by_class(views, others, against),
        most_changed_of_each(views, others, against),
    )


def _usual_base(views: Views, ids: list[str]) -> str:
    if len(ids) != 1:
        return ids[0] if ids else ""
    text = "SELECT arg_max(ancestor, distance) FROM ancestry WHERE model_id = ?"
    return str(column(views, text, ids)[0])


def _metrics(views: Views, ids: list[str], base: str) -> pa.Table:
    text = f"""
        WITH reference AS (SELECT metric, value AS measured FROM metric_changes WHERE model_id = ?)
        SELECT
            metric, coalesce(label, metric) AS label, coalesce(unit, '') AS unit,
            coalesce(direction, 'none') AS direction, coalesce(format, 'number') AS format,
            coalesce("primary", false) AS "primary", model_id, name, value,
            ci_low AS low, ci_high AS high, measured AS base_value, value - measured AS difference
        FROM metric_changes
        JOIN models USING (model_id)
        LEFT JOIN metric_definitions USING (metric)
        LEFT JOIN reference USING (metric)
        WHERE model_id {AMONG}
        ORDER BY "primary" DESC, metric, list_position(?, model_id)
    """
    return views.sql(text, [base, ids, ids])
