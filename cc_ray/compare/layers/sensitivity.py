"""How a metric answers to compressing one part of a model at a time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa

from cc_ray.compare.asking import AMONG, Row, known
from cc_ray.recipe import LEVELS, canonical_json
from cc_ray.schema import Judged
from cc_ray.views import Views

SENSITIVITY: Final = pa.schema(
    {
        "parent": pa.string(),
        "operation": pa.string(),
        "parameters": pa.string(),
        "pattern": pa.string(),
        "parameter": pa.string(),
        "level": pa.float64(),
        "model_id": pa.string(),
        "value": pa.float64(),
        "ci_low": pa.float64(),
        "ci_high": pa.float64(),
        "parent_value": pa.float64(),
        "difference": pa.float64(),
        "weight_sqnr_db": pa.float64(),
        "output_sqnr_db": pa.float64(),
        "reason": pa.string(),
    }
)

_TARGETS: Final = ("include", "exclude")


def sensitivity(
    views: Views, metric: str, ids: Iterable[str] | None = None, *, split: Judged = "evaluation"
) -> pa.Table:
    """A metric against the level of one part of a model at a time.

    Siblings are compared: children of one parent whose last steps are the same operation with the same parameters but
    for what it works on (`include`, `exclude`) and its level. Where siblings name two different parts or more, each is
    a row. So is each layer that `cc-ray sensitivity` compressed alone, without keeping a model; one that both tell of
    is one row. A store without either has an empty answer. Sorted by parent, operation, pattern and level. Columns:

    - parent (model_id), operation, parameters (the others, which all share; JSON), pattern (what the step works on:
      the patterns of `include`, and after "not" those of `exclude`; or the path of the layer), parameter (name of the
      level: one of `LEVELS`, or the one that was asked for; null for an operation without), level, model_id (null where
      no model was kept);
    - value, ci_low, ci_high (of the metric over the whole split; null where it was not measured),
      parent_value, difference (value less parent_value);
    - weight_sqnr_db and output_sqnr_db (20 log10(||x|| / ||x - y||) of the layer's weight and of the class scores; null
      where they are equal or only models were kept), reason (why the operation does not apply to the layer alone).

    Args:
        views: The store.
        metric: Name of the metric.
        ids: Only these models, and layers of these models; None for all.
        split: What is judged on; models are kept and judged on the evaluation split alone.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    wanted = None if ids is None else known(views, ids)
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in _children(views, metric, wanted) if split == "evaluation" else ():
        groups[row["parent"], row["operation"], row["seed"], row["parameters"], row["parameter"] or ""].append(row)
    compared = [row for held in groups.values() if len({row["pattern"] for row in held}) > 1 for row in held]
    alone = {_place(row): row for row in _alone(views, metric, wanted, split)}
    found = [alone.pop(_place(row), {}) | row for row in compared]
    found += alone.values()
    found.sort(key=lambda row: (*(row[name] for name in ("parent", "operation", "pattern")), row["level"] or 0.0))
    return pa.Table.from_pylist(found, SENSITIVITY)


def _place(row: Row) -> tuple[Any, ...]:
    """What was compressed how."""
    names = ("parent", "operation", "seed", "parameters", "pattern", "parameter", "level")
    return tuple(row[name] for name in names)


def _alone(views: Views, metric: str, ids: list[str] | None, split: Judged) -> list[Row]:
    """What was measured of layers without keeping models."""
    among = f"AND model_id {AMONG.replace('?', '$ids')}" if ids is not None else ""
    text = f"""
        SELECT
            model_id AS parent, operation, parameters, layer AS pattern, parameter, level, seed,
            value, ci_low, ci_high, model_value AS parent_value, difference, weight_sqnr_db, output_sqnr_db, reason
        FROM sensitivity
        WHERE metric = $metric AND coalesce(split, 'evaluation') = $split {among}
    """
    rows: list[Row] = views.sql(text, {**_given(metric, ids), "split": split}).to_pylist()
    return rows


def _given(metric: str, ids: list[str] | None) -> dict[str, Any]:
    return {"metric": metric} if ids is None else {"metric": metric, "ids": ids}


def _children(views: Views, metric: str, ids: list[str] | None) -> Iterator[Row]:
    among = f"AND models.model_id {AMONG.replace('?', '$ids')}" if ids is not None else ""
    text = f"""
        SELECT
            lineage.parent, models.model_id, models.operation, models.parameters, models.seed,
            own.value, own.ci_low, own.ci_high, before.value AS parent_value
        FROM models
        JOIN lineage ON lineage.child = models.model_id AND lineage.role = 'parent'
        LEFT JOIN metrics AS own ON own.model_id = models.model_id AND own.metric = $metric AND own.slice = 'all'
        LEFT JOIN metrics AS before
            ON before.model_id = lineage.parent AND before.metric = $metric AND before.slice = 'all'
            AND (own.device IS NULL OR before.device = own.device)
        WHERE models.operation IS NOT NULL {among}
        QUALIFY row_number() OVER (PARTITION BY models.model_id ORDER BY own.device, before.device) = 1
    """
    for row in views.sql(text, _given(metric, ids)).to_pylist():
        parameters = json.loads(row["parameters"])
        if any(parameters.get(name) for name in _TARGETS):
            yield row | _level(parameters) | {"difference": _less(row["value"], row["parent_value"])}


def _level(parameters: dict[str, Any]) -> Row:
    level = next((name for name in LEVELS if isinstance(parameters.get(name), int | float)), None)
    others = {name: value for name, value in parameters.items() if name not in (*_TARGETS, level)}
    return {
        "pattern": _pattern(parameters),
        "parameter": level,
        "level": None if level is None else float(parameters[level]),
        "parameters": canonical_json(others),
    }


def _pattern(parameters: dict[str, Any]) -> str:
    include, exclude = (", ".join(parameters.get(name) or []) for name in _TARGETS)
    return " ".join(filter(None, (include, f"not {exclude}" if exclude else "")))


def _less(value: float | None, parent: float | None) -> float | None:
    return None if value is None or parent is None else value - parent
