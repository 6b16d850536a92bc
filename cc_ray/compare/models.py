"""What there is: models with their metrics, definitions, findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from cc_ray.compare.asking import AMONG, Row, column, known, named_in, plain, remembered
from cc_ray.compare.recipes.lineage import ancestors, children
from cc_ray.views import Views

_MODELS: Final = """
    WITH origin AS (
        SELECT
            model_id,
            min(ancestor) FILTER (distance = 1) AS parent,
            arg_max(ancestor, distance) AS root
        FROM ancestry
        GROUP BY model_id
    ),
    timed AS (
        SELECT model_id, any_value(device) AS device FROM metrics
        WHERE metric = 'latency_p50_ms' AND slice = 'all' GROUP BY model_id
    )
    SELECT
        models.model_id, name, base, operation, parameters, step_index, parent, root, task_id, representation,
        -- 'cpu, 1 thread' and 'cuda: NVIDIA H200' begin with the kind of device.
        list_contains(realised_on, regexp_extract(coalesce(timed.device, models.device), '^[a-z]+')) AS realised,
        artifact, study_id, created_at, model_metrics.* EXCLUDE (model_id)
    FROM models
    JOIN origin USING (model_id)
    LEFT JOIN timed USING (model_id)
    LEFT JOIN model_metrics USING (model_id)
    {chosen}
"""

_CHANGES: Final = """
    SELECT
        metric, coalesce(label, metric) AS label, coalesce(unit, '') AS unit,
        coalesce(direction, 'none') AS direction, coalesce(format, 'number') AS format,
        coalesce("primary", false) AS "primary", value,
        ci_low AS low, ci_high AS high,
        parent_value, value - parent_value AS parent_difference,
        base_value, value - base_value AS base_difference
    FROM metric_changes
    LEFT JOIN metric_definitions USING (metric)
    WHERE model_id = ?
    ORDER BY "primary" DESC, metric
"""

_STATES: Final = ("finished", "failed", "running", "pending", "stopped")


@dataclass(frozen=True)
class ModelCard:
    """One model, with all that is known of it."""

    model: Row
    """Its row of `models`."""
    ancestors: pa.Table
    """Rows of `models`, from the base model to the parent."""
    children: pa.Table
    """Rows of `models`."""
    metrics: pa.Table
    """A row per metric over all instances, primary ones first: metric, label, unit, direction, format, primary, value,
    low, high, parent_value, parent_difference, base_value, base_difference; in the metric's unit."""
    findings: pa.Table
    """As `findings` gives them."""


def models(views: Views) -> pa.Table:
    """A row per model, oldest first.

    Columns: model_id, name, base, operation, parameters (JSON), step_index, parent (null for a base model), root,
    task_id, representation, realised (whether it runs in the form that is saved on the device that it was timed on, or
    where it was not timed, made on; else what it saves is simulated; null where not known), artifact, study_id,
    created_at; then of each metric over all instances `<metric>`,
    `<metric>_low`, `<metric>_high`, primary metrics first.
    """
    return remembered(views, "models", lambda: _models(views, "ORDER BY created_at, step_index, models.model_id"))


def _models(views: Views, chosen: str, parameters: Sequence[Any] = ()) -> pa.Table:
    found = views.sql(_MODELS.format(chosen=chosen), parameters)
    names = metric_definitions(views)["metric"].to_pylist()
    metrics = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    for name in metrics:
        if name not in found.column_names:
            found = found.append_column(name, pa.nulls(found.num_rows, pa.float64()))
    return found.select([*(name for name in found.column_names if name not in metrics), *metrics])


def metric_definitions(views: Views) -> pa.Table:
    """A row per metric, primary ones first, with the columns of `schema.METRIC_DEFINITIONS`."""
    text = 'SELECT * FROM metric_definitions ORDER BY "primary" DESC, metric'
    return remembered(views, "metric_definitions", lambda: views.sql(text))


def show(views: Views, model: str) -> ModelCard:
    """All that is known of one model.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    older, younger = ancestors(views, [model]), children(views, [model])
    chosen, given = named_in([*older, model, *younger])
    family = _models(views, f"WHERE {chosen}", given)
    return ModelCard(
        plain(_of_few(family, [model]))[0],
        _of_few(family, older),
        _of_few(family, younger),
        views.sql(_CHANGES, [model]),
        findings(views, [model]),
    )


def answering(views: Views, ids: Iterable[str]) -> list[str]:
    """Those of these models of which predictions are recorded, in the order given.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    return _having(views, "predictions", ids)


def with_layers(views: Views, ids: Iterable[str]) -> list[str]:
    """Those of these models of whose weights something is recorded, layer by layer, in the order given.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    return _having(views, "layers", ids)


def with_activations(views: Views, ids: Iterable[str]) -> list[str]:
    """Those of these models of whose modules' outputs something is recorded, in the order given.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    return _having(views, "activations", ids)


def _having(views: Views, table: str, ids: Iterable[str]) -> list[str]:
    """Those of some models that a table has a row of."""
    wanted = known(views, ids)
    chosen, given = named_in(wanted)
    there = set(column(views, f"SELECT DISTINCT model_id FROM {table} WHERE {chosen}", given))
    return [model_id for model_id in wanted if model_id in there]


def findings(views: Views, ids: Iterable[str] | None = None) -> pa.Table:
    """What checks noticed, gravest first.

    Columns: model_id, name, check, severity, layer, message, expected, found.

    Args:
        views: The store.
        ids: Models; without it all of them.
    """
    wanted = known(views, ids) if ids is not None else column(views, "SELECT model_id FROM models")
    text = f"""
        SELECT model_id, name, "check", severity, layer, message, expected, "found"
        FROM findings
        JOIN models USING (model_id)
        WHERE model_id {AMONG}
        ORDER BY list_position(['error', 'warning', 'info'], severity), created_at, model_id, "check", layer
    """
    return views.sql(text, [wanted])


def studies(views: Views) -> pa.Table:
    """A row per study in its last state, newest first, with the columns of the view and counts.

    The counts: trials, finished, failed, running, pending, stopped (trials by their last state), models (that the
    trials ended in; of a study without trials, as importers make them, those that are its own), steps_run,
    steps_reused.
    """
    states = ", ".join(f"count(trial_id) FILTER (trials.state = '{state}') AS {state}" for state in _STATES)
    return views.sql(f"""
        SELECT
            studies.*, count(trial_id) AS trials, {states},
            if(count(trial_id) > 0, count(DISTINCT model_id), coalesce(any_value(own), 0)) AS models,
            coalesce(sum(steps_run), 0)::BIGINT AS steps_run, coalesce(sum(steps_reused), 0)::BIGINT AS steps_reused
        FROM studies
        LEFT JOIN trials USING (study_id)
        LEFT JOIN (SELECT study_id, count(*) AS own FROM models GROUP BY study_id) USING (study_id)
        GROUP BY ALL
        ORDER BY started_at DESC, study_id
    """)


def trials(views: Views, study: str) -> pa.Table:
    """A row per trial of a study in its last state, in order of that change, with the columns of the view."""
    return views.sql('SELECT * FROM trials WHERE study_id = ? ORDER BY "at", trial_id', [study])


def repeated_steps(views: Views) -> pa.Table:
    """Steps that ran to their end more than once; none where work was shared as it should.

    Columns: model_id, name (null if no such model was published), kind, executions, studies.
    """
    return views.sql("""
        SELECT model_id, name, kind, executions, studies
        FROM repeated_steps
        LEFT JOIN models USING (model_id)
        ORDER BY executions DESC, model_id, kind
    """)


def of_ids(table: pa.Table, ids: Iterable[str]) -> pa.Table:
    """Rows of a table that has one row per model_id, in the order of the ids."""
    places = _places(table)
    return table.take(pa.array([places[model_id] for model_id in ids], pa.int64()))


def _of_few(table: pa.Table, ids: Iterable[str]) -> pa.Table:
    """As `of_ids`, which takes longer where pandas is not loaded yet: pyarrow loads it to make an array of places."""
    places = _places(table)
    return pa.concat_tables([table.slice(0, 0), *(table.slice(places[model_id], 1) for model_id in ids)])


def _places(table: pa.Table) -> dict[str, int]:
    return {model_id: place for place, model_id in enumerate(table["model_id"].to_pylist())}
