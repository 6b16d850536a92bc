"""Two models side by side, only what differs; and the models whose recipes are the nearest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from cc_ray.compare.asking import Row, known, rows
from cc_ray.compare.models import models, of_ids
from cc_ray.compare.recipes.distance import OTHER_BASE, OTHER_SEED, aligned, distances
from cc_ray.compare.recipes.traits import Reader, Taken, label
from cc_ray.schema import MODELS
from cc_ray.views import Views
from cc_ray.wording import format_change, format_value

ROWS: Final = pa.schema(
    {
        "kind": pa.string(),
        "name": pa.string(),
        "value": pa.string(),
        "other_value": pa.string(),
        "difference": pa.float64(),
        "unit": pa.string(),
        "within_noise": pa.bool_(),
        "meaning": pa.string(),
    }
)

_METADATA: Final = ("task_id", "seed", "representation", "device", "study_id", "duration_s")

_METRICS: Final = """
    WITH own AS (SELECT * FROM metric_changes WHERE model_id = ?),
    other AS (SELECT * FROM metric_changes WHERE model_id = ?)
    SELECT
        metric, coalesce(label, metric) AS label, coalesce(unit, '') AS unit, coalesce(format, 'number') AS format,
        own.value, other.value AS other_value, own.ci_low, own.ci_high, other.ci_low AS other_low,
        other.ci_high AS other_high
    FROM own
    FULL JOIN other USING (metric)
    LEFT JOIN metric_definitions USING (metric)
    WHERE own.value IS DISTINCT FROM other.value
    ORDER BY coalesce("primary", false) DESC, metric
"""


def only_what_differs(views: Views, model: str, other: str) -> pa.Table:
    """Put two models side by side, leaving out all in which they are alike.

    Their steps are aligned first: those of one operation that stand in the same place belong together.

    Args:
        views: The store.
        model: Any model.
        other: Any other one, also of another base model, study or task.

    Returns:
        A row per difference, first of the recipe, then of metrics over all instances, then of the rest. Columns: kind
        (base, step: only one has it, parameter, metric, metadata), name, value and other_value (as text, null where
        there is none), difference (value - other_value, where both are numbers), unit, within_noise (of a metric,
        whether the intervals overlap; null where one has none), meaning (in a sentence).

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    known(views, [model, other])
    text = f"SELECT recipe, {', '.join(_METADATA)} FROM models WHERE model_id = ?"
    (own,), (its,) = (rows(views, text, [model_id]) for model_id in (model, other))
    found = [
        *_recipe_rows(json.loads(own["recipe"]), json.loads(its["recipe"])),
        *(_metric_row(row) for row in rows(views, _METRICS, [model, other])),
        *_metadata_rows(own, its),
    ]
    return pa.Table.from_pylist(found, ROWS)


def nearest(views: Views, model: str, limit: int = 10) -> pa.Table:
    """The models of the same task whose recipes are nearest to a model's.

    The distance of two recipes is that of their steps (a step that only one has counts 1, steps of one operation the
    mean difference of their parameters: numbers relative to the larger, others 0 or 1); another base model adds 1,
    another seed 0.5.

    Args:
        views: The store.
        model: The model.
        limit: How many at most.

    Returns:
        Rows of `models`, nearest first, then oldest; the model itself excluded; with the column distance.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    known(views, [model])
    text = """
        SELECT model_id, base, seed, recipe FROM models
        WHERE task_id = (SELECT any_value(task_id) FROM models WHERE model_id = ?)
        ORDER BY created_at, step_index, model_id
    """
    found, reader = views.sql(text, [model]), Reader()
    ids = found["model_id"].to_pylist()
    place = ids.index(model)
    steps = [reader.steps(json.loads(recipe)) for recipe in found["recipe"].to_pylist()]
    apart = np.array(distances(steps[place], steps))
    for name, weight in (("base", OTHER_BASE), ("seed", OTHER_SEED)):
        values = found[name].to_numpy(zero_copy_only=False)
        apart += weight * (values != values[place])
    order = [index for index in np.argsort(apart, kind="stable").tolist() if index != place][: max(0, limit)]
    table = of_ids(models(views), [ids[index] for index in order])
    return table.append_column("distance", pa.array(apart[order], pa.float64()))


def _recipe_rows(own: Row, its: Row) -> Iterator[Row]:
    if own["base"] != its["base"]:
        yield _row("base", "base", own["base"], its["base"], "the recipes start from different base models.")
    reader = Reader()
    steps, other_steps = reader.steps(own), reader.steps(its)
    for place, other_place in aligned(steps, other_steps):
        if place is None and other_place is not None:
            yield _step_row(other_steps, other_place, own=False)
        elif place is not None and other_place is None:
            yield _step_row(steps, place, own=True)
        elif place is not None and other_place is not None:
            yield from _parameter_rows(_counted(steps, place), steps[place], other_steps[other_place])


def _step_row(steps: Sequence[Taken], place: int, *, own: bool) -> Row:
    operation, fields = steps[place]
    said = ", ".join(f"{key}={label(value)}" for key, value in fields.items() if key != "version" and value is not None)
    text = f"{operation}({said})"
    whose = "the model" if own else "the other"
    meaning = f"only {whose} has this step, as its step {place + 1} of {len(steps)}."
    return _row("step", _counted(steps, place), text if own else None, None if own else text, meaning)


def _parameter_rows(name: str, first: Taken, second: Taken) -> Iterator[Row]:
    for key in dict.fromkeys([*first[1], *second[1]]):
        value, other = first[1].get(key), second[1].get(key)
        if value != other:
            yield _row("parameter", f"{name} {key}", value, other, f"both have {name}, with another {key}.")


def _counted(steps: Sequence[Taken], place: int) -> str:
    """Name of a step; a repeated operation is counted from the root ("fine_tune 2")."""
    operation = steps[place][0]
    count = sum(name == operation for name, _ in steps[: place + 1])
    return operation if count == 1 else f"{operation} {count}"


def _metric_row(row: Row) -> Row:
    value, other = row["value"], row["other_value"]
    overlap = _overlap(row)
    if value is None or other is None:
        meaning = f"{row['label']} was measured of {'the model' if other is None else 'the other'} only."
    else:
        change = format_change(value - other, row["format"])
        said = {True: ", the intervals overlap", False: ", the intervals are apart", None: ""}[overlap]
        pair = " against ".join(format_value(number, row["format"]) for number in (value, other))
        meaning = f"{row['label']}: {pair} ({change}{said})."
    return {**_row("metric", row["metric"], value, other, meaning), "unit": row["unit"], "within_noise": overlap}


def _overlap(row: Row) -> bool | None:
    low, high, other_low, other_high = (row[name] for name in ("ci_low", "ci_high", "other_low", "other_high"))
    if any(end is None for end in (low, high, other_low, other_high)):
        return None
    return bool(low <= other_high and other_low <= high)


def _metadata_rows(own: Row, its: Row) -> Iterator[Row]:
    columns = {column.name: column for column in MODELS.columns}
    for name in _METADATA:
        if own[name] != its[name]:
            row = _row("metadata", name, own[name], its[name], f"{columns[name].meaning}.")
            yield {**row, "unit": columns[name].unit}


def _row(kind: str, name: str, value: Any, other: Any, meaning: str) -> Row:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (value, other))
    return {
        "kind": kind,
        "name": name,
        "value": None if value is None else label(value),
        "other_value": None if other is None else label(other),
        "difference": float(value - other) if numbers else None,
        "unit": "",
        "within_noise": None,
        "meaning": meaning,
    }
