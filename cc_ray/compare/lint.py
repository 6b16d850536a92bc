"""What looks wrong among recorded models, judged from their rows alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from cc_ray.compare.asking import AMONG, column, known
from cc_ray.views import Views

CLAIM_TOLERANCE: Final = 0.02
"""How far a real sparsity may be from the claimed one: norms and biases are often left out of one of them."""

_SAME_METRICS: Final = """
    SELECT
        child AS model_id, 'same_metrics_as_parent' AS "check", 'warning' AS severity,
        format('all {} metric values equal those of the parent: the step may have done nothing.', count(*)) AS message,
        NULL::DOUBLE AS expected, NULL::DOUBLE AS "found"
    FROM lineage
    JOIN metrics AS own ON own.model_id = child
    LEFT JOIN metrics AS older
        ON older.model_id = parent AND older.metric = own.metric AND older.split = own.split
        AND older.slice = own.slice AND older.device = own.device
    WHERE role = 'parent'
    GROUP BY child, parent
    HAVING bool_and(older.value IS NOT DISTINCT FROM own.value)
"""

_SAME_WEIGHTS: Final = """
    SELECT
        child AS model_id, 'same_weights_as_parent' AS "check", 'warning' AS severity,
        'the saved file is the very one of the parent: the step changed nothing.' AS message,
        NULL::DOUBLE AS expected, NULL::DOUBLE AS "found"
    FROM lineage
    JOIN models AS own ON own.model_id = child
    JOIN models AS older ON older.model_id = parent
    -- A digest of zeros, or none, stands for a model of which no file exists.
    WHERE role = 'parent' AND own.artifact = older.artifact AND ltrim(own.artifact, '0') <> ''
"""

_MISSING: Final = """
    WITH families AS (
        SELECT models.model_id, lineage.parent
        FROM models
        JOIN lineage ON lineage.child = models.model_id AND lineage.role = 'parent'
    ),
    measured AS (SELECT DISTINCT model_id, metric FROM metrics WHERE slice = 'all' AND NOT isnan(value)),
    usual AS (
        SELECT parent, metric, count(*) AS siblings FROM families JOIN measured USING (model_id) GROUP BY ALL
    )
    SELECT
        model_id, 'metric_missing' AS "check", 'warning' AS severity,
        format('{} is missing, though {} of the same parent have it.', metric,
            CASE siblings WHEN 1 THEN 'another model' ELSE format('{} other models', siblings) END) AS message,
        NULL::DOUBLE AS expected, NULL::DOUBLE AS "found"
    FROM families
    JOIN usual USING (parent)
    ANTI JOIN measured USING (model_id, metric)
"""

_OUT_OF_RANGE: Final = """
    SELECT
        model_id, 'metric_out_of_range' AS "check", 'error' AS severity,
        format('{} of {} is outside its range: {:g} is {} {:g}.', metric, slice, value,
            CASE WHEN value < "min" THEN 'below' ELSE 'above' END,
            CASE WHEN value < "min" THEN "min" ELSE "max" END) AS message,
        CASE WHEN value < "min" THEN "min" ELSE "max" END AS expected, value AS "found"
    FROM metrics
    JOIN metric_definitions USING (metric)
    -- Rounding in the last digits is no fault.
    WHERE value < "min" - 1e-9 * greatest(1, abs("min")) OR value > "max" + 1e-9 * greatest(1, abs("max"))
"""

_CLAIMED: Final = f"""
    WITH real AS (
        SELECT model_id, any_value(value) AS sparsity
        FROM metrics
        WHERE slice = 'all' AND (metric = 'sparsity' OR starts_with(metric, 'sparsity_'))
        GROUP BY model_id
    ),
    claims AS (
        SELECT
            models.model_id, operation, real.sparsity, coalesce(older.sparsity, 0) AS before,
            TRY_CAST(coalesce(parameters->>'$.sparsity', parameters->>'$.amount') AS DOUBLE) AS claimed
        FROM models
        JOIN real USING (model_id)
        LEFT JOIN lineage ON lineage.child = models.model_id AND lineage.role = 'parent'
        LEFT JOIN real AS older ON older.model_id = lineage.parent
        -- Where layers were measured, the step itself has compared its targets with the claim: see its findings.
        WHERE contains(lower(operation), 'prun') AND models.model_id NOT IN (SELECT model_id FROM layers)
    )
    SELECT
        model_id, 'sparsity_differs' AS "check", 'warning' AS severity,
        format('{{}} claims sparsity {{:.3g}}, but {{:.3g}} of the weights are zero.', operation, claimed, sparsity)
            AS message,
        claimed AS expected, sparsity AS "found"
    FROM claims
    -- A claim is of all weights, or of those that the parent had left; a sparser parent stays as it is.
    WHERE claimed BETWEEN 0 AND 1
        AND abs(sparsity - greatest(claimed, before)) > {CLAIM_TOLERANCE}
        AND abs(sparsity - (before + (1 - before) * claimed)) > {CLAIM_TOLERANCE}
"""

_STORED: Final = """
    SELECT
        model_id, "check", severity, CASE layer WHEN '' THEN message ELSE layer || ': ' || message END AS message,
        expected, "found"
    FROM findings
    WHERE severity IN ('warning', 'error')
"""

CHECKS: Final = (_SAME_METRICS, _SAME_WEIGHTS, _MISSING, _OUT_OF_RANGE, _CLAIMED, _STORED)


def lint(views: Views, ids: Iterable[str] | None = None) -> pa.Table:
    """What looks wrong, gravest first: a row per model and thing noticed.

    Columns: model_id, name, check, severity (error or warning), message, expected, found.

    The checks: a child with its parent's metrics (same_metrics_as_parent) or its very file (same_weights_as_parent);
    a metric that models of the same parent have (metric_missing); a value outside its metric's definition
    (metric_out_of_range); claimed against real sparsity (sparsity_differs); and the stored findings of severity
    warning and error, among them operations of imported models that were never declared.

    Args:
        views: The store.
        ids: Models; without it all of them.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    wanted = known(views, ids) if ids is not None else column(views, "SELECT model_id FROM models")
    checks = "\nUNION ALL\n".join(f"({check})" for check in CHECKS)
    text = f"""
        SELECT model_id, name, "check", severity, message, expected, "found"
        FROM ({checks}) AS noticed
        JOIN models USING (model_id)
        WHERE model_id {AMONG}
        ORDER BY list_position(['error', 'warning'], severity), "check", created_at, step_index, model_id, message
    """
    return views.sql(text, [wanted])
