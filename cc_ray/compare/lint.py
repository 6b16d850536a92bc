"""What looks wrong among recorded models, judged from their rows alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from cc_ray.compare.asking import AMONG, column, known
from cc_ray.views import Views

CLAIM_TOLERANCE: Final = 0.02
"""How far a real sparsity may be from the claimed one: norms and biases are often left out of one of them."""
BITS_TOLERANCE: Final = 1.25
"""How many times the claimed bits a weight may take on disk, beside one bit more."""
MANY_WEIGHTS: Final = 100
"""So many weights are not all left as they were by chance."""
SEVERAL: Final = 3
"""Fewer models than this may well agree."""

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
        WHERE contains(lower(operation), 'prun') AND models.model_id NOT IN (SELECT model_id FROM weights)
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

_REPEATED: Final = """
    WITH repeats AS (
        SELECT
            model_id, metric, slice, count(*) AS times, min(value) AS least, max(value) AS most,
            count(ci_low) = count(*) AND count(ci_high) = count(*) AS judged,
            -- Two intervals part where one begins behind the end of the other.
            max(ci_low) > min(ci_high) AS apart
        FROM metrics
        WHERE isfinite(value)
        GROUP BY model_id, metric, split, slice, device
        HAVING times > 1
    )
    SELECT
        model_id, 'measurements_differ' AS "check", 'warning' AS severity,
        format('{} of {} was measured {} times, from {:g} to {:g}, which is more than its noise: measure it again on '
            'an idle machine and keep one.', metric, slice, times, least, most) AS message,
        least AS expected, most AS "found"
    FROM repeats
    WHERE CASE WHEN judged THEN apart ELSE most - least > 1e-9 * greatest(1, abs(least)) END
"""

_ANSWERS: Final = """
    SELECT
        model_id, 'predictions_contradict_accuracy' AS "check", 'error' AS severity,
        format('accuracy is recorded as {:.4g}, but {:.4g} of its {} predictions are correct: evaluate it again.',
            value, share, answers) AS message,
        share AS expected, value AS "found"
    FROM metrics
    JOIN answered USING (model_id)
    -- Over the same instances both are one number; over others chance may part them.
    WHERE metric = 'accuracy' AND slice = 'all' AND abs(value - share) > 1e-6 + CASE
        WHEN n IS NULL OR n = answers THEN 0
        ELSE greatest(coalesce(ci_high - value, 0), coalesce(value - ci_low, 0))
    END
"""

_UNANSWERED: Final = """
    WITH families AS (
        SELECT model_id, task_id, step_index, answered.model_id IS NOT NULL AS has
        FROM models LEFT JOIN answered USING (model_id)
    )
    SELECT
        model_id, 'predictions_missing' AS "check", 'warning' AS severity,
        format('there are no predictions of it, though {} of the task have them: it is left out of every comparison '
            'of behaviour.', CASE having_them WHEN 1 THEN 'another model' ELSE format('{} models', having_them) END)
            AS message,
        NULL::DOUBLE AS expected, NULL::DOUBLE AS "found"
    FROM families
    JOIN (SELECT task_id, count(*) AS having_them FROM families WHERE has GROUP BY ALL) AS others USING (task_id)
    WHERE NOT has
"""

_NOT_FINITE: Final = """
    SELECT
        model_id, 'metric_not_finite' AS "check", 'error' AS severity,
        format('{} of {} is infinite: the model or the measurement overflowed.', metric, slice) AS message,
        NULL::DOUBLE AS expected, value AS "found"
    FROM metrics
    WHERE isinf(value)
"""

_INTERVAL: Final = """
    SELECT
        model_id, 'interval_misses_value' AS "check", 'error' AS severity,
        format('{} of {} is {:g}, outside its own interval, {:g} to {:g}: one of them is of something else.',
            metric, slice, value, ci_low, ci_high) AS message,
        CASE WHEN value < ci_low THEN ci_low ELSE ci_high END AS expected, value AS "found"
    FROM metrics
    WHERE value < ci_low - 1e-9 * greatest(1, abs(ci_low)) OR value > ci_high + 1e-9 * greatest(1, abs(ci_high))
"""

_CONTRADICTIONS: Final = """
    WITH rules(smaller, larger, reason) AS (
        VALUES
            ('num_nonzero_parameters', 'num_parameters', 'a model has no more weights that are not 0 than weights'),
            ('latency_p50_ms', 'latency_p90_ms', 'a percentile is no larger than a higher one'),
            ('latency_p90_ms', 'latency_p99_ms', 'a percentile is no larger than a higher one')
        UNION
        SELECT DISTINCT metric, replace(metric, 'top_1_', 'top_5_'), 'the first five hold the first'
        FROM metrics
        WHERE starts_with(metric, 'top_1_')
    )
    SELECT
        own.model_id, 'metrics_contradict' AS "check", 'error' AS severity,
        format('{} is {:g}, more than {} with {:g}, yet {}: one of them is wrong, measure both again.',
            smaller, own.value, larger, other.value, reason) AS message,
        other.value AS expected, own.value AS "found"
    FROM rules
    JOIN metrics AS own ON own.metric = smaller
    JOIN metrics AS other
        ON other.metric = larger AND other.model_id = own.model_id AND other.split = own.split
        AND other.slice = own.slice AND other.device = own.device
    WHERE own.value > other.value + 1e-9 * greatest(1, abs(other.value))
"""

_SPREAD: Final = """
    SELECT
        own.model_id, 'spread_exceeds_mean' AS "check", 'warning' AS severity,
        format('{} is {:g}, more than {} itself, {:g}: the mean says little; measure again on an idle machine, with '
            'warm-up, and record the median.', spread.metric, spread.value, own.metric, own.value) AS message,
        own.value AS expected, spread.value AS "found"
    FROM metrics AS own
    JOIN metrics AS spread
        ON spread.metric = replace(own.metric, '_mean', '_std') AND spread.model_id = own.model_id
        AND spread.split = own.split AND spread.slice = own.slice AND spread.device = own.device
    WHERE contains(own.metric, '_mean') AND spread.value > abs(own.value)
"""

_LAYERS_SPARSITY: Final = f"""
    WITH counted AS (
        SELECT model_id, sum(zeros) / sum(parameters) AS share FROM weights WHERE axes > 1 GROUP BY ALL
    )
    SELECT
        model_id, 'sparsity_contradicts_layers' AS "check", 'error' AS severity,
        format('sparsity is recorded as {{:.3g}}, but {{:.3g}} of the values in its layers are zero: evaluate it '
            'again.', value, share) AS message,
        share AS expected, value AS "found"
    FROM metrics
    JOIN counted USING (model_id)
    WHERE metric = 'sparsity' AND slice = 'all' AND abs(value - share) > {CLAIM_TOLERANCE}
"""

_BITS: Final = f"""
    WITH claims AS (
        SELECT model_id, operation, TRY_CAST(parameters->>'$.bits' AS DOUBLE) AS bits
        FROM models
        -- Simulated quantization is saved in floats, and says so.
        WHERE contains(lower(operation), 'quant') AND representation <> 'simulated'
    ),
    reached AS (SELECT model_id, min(effective_bits) AS least FROM weights WHERE axes > 1 GROUP BY ALL)
    SELECT
        model_id, 'bits_differ' AS "check", 'warning' AS severity,
        format('{{}} claims {{:g}} bits, but no weight takes less than {{:.3g}} bits on disk: what is saved is not '
            'quantized.', operation, bits, least) AS message,
        bits AS expected, least AS "found"
    FROM claims
    JOIN reached USING (model_id)
    -- Scales, zero points and masks take bits too.
    WHERE least > {BITS_TOLERANCE} * bits + 1
"""

_SKIPPED: Final = f"""
    WITH targeted AS (
        SELECT weights.*, operation, coalesce(relative_change, 1) > 0
            -- A layer that has zeros already may well fulfil a claim as it is.
            OR (contains(lower(operation), 'prun') AND zeros > 0) AS touched
        FROM weights
        JOIN models USING (model_id)
        WHERE axes > 1 AND weights.parameters >= {MANY_WEIGHTS}
            AND (contains(lower(operation), 'prun') OR contains(lower(operation), 'quant'))
            AND coalesce(models.parameters->>'$.include', '[]') = '[]'
            AND coalesce(models.parameters->>'$.exclude', '[]') = '[]'
    )
    SELECT
        model_id, 'layers_skipped' AS "check", 'warning' AS severity,
        format('{{}} left {{}} of {{}} {{}} weights as they were ({{}}), though nothing excludes them: name them in '
            'exclude if that is meant.', any_value(operation), count_if(NOT touched), count(*), module,
            array_to_string(list_slice(list(layer ORDER BY layer) FILTER (NOT touched), 1, 3), ', ')) AS message,
        count(*)::DOUBLE AS expected, count_if(touched)::DOUBLE AS "found"
    FROM targeted
    GROUP BY model_id, module
    HAVING count_if(touched) > 0 AND count_if(NOT touched) > 0 AND NOT bool_or(reshaped)
"""

_BROKEN: Final = """
    SELECT
        model_id, 'weights_not_finite' AS "check", 'error' AS severity,
        format('{} holds NaN or infinite values: the step that made it diverged; do not use the model.',
            concat_ws('.', nullif(layer, ''), tensor)) AS message,
        NULL::DOUBLE AS expected, NULL::DOUBLE AS "found"
    FROM weights
    WHERE NOT (isfinite(l1) AND isfinite(l2) AND isfinite("min") AND isfinite("max"))
"""

_GREW: Final = """
    SELECT
        child AS model_id, 'size_grew' AS "check", 'warning' AS severity,
        format('{} grew from {:g} to {:g} by {}: the step added more than it saved, or the parent was saved in another '
            'format.', own.metric, older.value, own.value, operation) AS message,
        older.value AS expected, own.value AS "found"
    FROM edges
    JOIN metrics AS own ON own.model_id = child AND own.slice = 'all'
    JOIN metrics AS older
        ON older.model_id = parent AND older.metric = own.metric AND older.slice = 'all'
        AND older.split = own.split AND older.device = own.device
    JOIN metric_definitions AS defined ON defined.metric = own.metric
    WHERE role = 'parent' AND (contains(lower(operation), 'prun') OR contains(lower(operation), 'quant'))
        AND direction = 'lower' AND contains(own.metric, 'size') AND own.value > 1.01 * older.value
"""

_CONSTANT: Final = f"""
    SELECT
        arg_min(model_id, step_index) AS model_id, 'metric_constant' AS "check", 'warning' AS severity,
        format('{{}} is {{:g}} for all {{}} models of the task: it was not measured, or it cannot tell models apart.',
            metric, any_value(value), count(*)) AS message,
        NULL::DOUBLE AS expected, any_value(value) AS "found"
    FROM metrics
    JOIN models USING (model_id)
    JOIN metric_definitions USING (metric)
    -- Counts of weights may well stay as they are; what is measured on data or by a clock never does.
    WHERE slice = 'all' AND (split <> '' OR direction = 'higher' OR unit IN ('s', 'ms', 'us'))
    GROUP BY task_id, metric, split, metrics.device
    HAVING count(DISTINCT model_id) >= {SEVERAL} AND min(value) = max(value)
"""

_UNITS: Final = """
    WITH sums AS (
        SELECT
            metric, task_id, arg_min(model_id, step_index) AS model_id, min(value) AS least, max(value) AS most,
            bool_and(value = round(value)) AS whole
        FROM metrics
        JOIN models USING (model_id)
        WHERE slice = 'all' AND isfinite(value)
        GROUP BY ALL
    ),
    judged AS (
        SELECT *, CASE
            WHEN format = 'percent' AND most > 1
                THEN format('is a share in [0, 1], but goes up to {:g}: divide it by 100', most)
            WHEN unit IN ('B', 'byte', 'bytes') AND NOT whole
                THEN 'is in bytes, but has fractions: it is in a larger unit'
            WHEN unit IN ('B', 'byte', 'bytes') AND most < 100
                THEN format('is in bytes, but is {:g} at most: it is in a larger unit', most)
            WHEN unit = '' AND "primary" AND format <> 'percent' AND direction = 'lower'
                AND regexp_matches(metric, '(^|_)(size|latency|time|memory|energy)(_|$)')
                THEN 'has no unit: nobody can tell bytes from kilobytes, or seconds from milliseconds'
        END AS fault
        FROM sums JOIN metric_definitions USING (metric)
    )
    SELECT
        model_id, 'unit_contradicts_values' AS "check", 'warning' AS severity,
        format('{} {}; correct its definition.', metric, fault) AS message,
        NULL::DOUBLE AS expected, most AS "found"
    FROM judged
    WHERE fault IS NOT NULL
"""

_LEAKS: Final = """
    WITH named AS (
        SELECT
            model_id, operation, key,
            lower(parameters->>('$."' || replace(key, '"', '') || '"')) AS data
        FROM (SELECT *, unnest(json_keys(parameters)) AS key FROM models)
        WHERE regexp_matches(lower(key), '(^|_)(data|dataset|split)(_|$)')
    )
    SELECT model_id, format('{} was given {} "{}"', operation, key, data) AS said
    FROM named
    WHERE regexp_matches(data, '(^|[^a-z])(test|testing|evaluation|eval|validation|valid|val)([^a-z]|$)')
    UNION ALL
    SELECT model_id, coalesce(operation, format('training {}', base)) || ' read the split "evaluation"'
    FROM models
    WHERE list_contains(data_used, 'evaluation')
"""

_LEAK: Final = """
    SELECT
        model_id, 'evaluation_data_used' AS "check", 'error' AS severity,
        said || ': what a model is measured on must not make it; use training or calibration data.' AS message,
        NULL::DOUBLE AS expected, NULL::DOUBLE AS "found"
    FROM leaks
"""

_LEAK_ABOVE: Final = """
    WITH RECURSIVE below(model_id, origin) AS (
        SELECT child, leaks.model_id FROM leaks JOIN lineage ON parent = leaks.model_id
        UNION
        SELECT child, origin FROM below JOIN lineage ON parent = below.model_id
    )
    SELECT
        below.model_id, 'evaluation_data_used' AS "check", 'error' AS severity,
        format('it was made from {}, and there {}: what a model is measured on must not make it.', origin, said)
            AS message,
        NULL::DOUBLE AS expected, NULL::DOUBLE AS "found"
    FROM below
    JOIN leaks ON leaks.model_id = origin
"""

_SPLITS: Final = """
    WITH shared AS (
        SELECT
            task_id, split, TRY_CAST(splits->>('$.' || split || '.in_evaluation') AS BIGINT) AS shared,
            TRY_CAST(splits->>('$.' || split || '.instances') AS BIGINT) AS instances
        FROM tasks, (VALUES ('train'), ('calibration')) AS own(split)
        WHERE splits IS NOT NULL
    )
    SELECT
        arg_min(model_id, step_index) AS model_id, 'splits_overlap' AS "check", 'error' AS severity,
        format('{} of the {} instances of the split "{}" are in the evaluation split too: what is measured there is no '
            'evaluation; make the splits disjoint.', shared, instances, split) AS message,
        0::DOUBLE AS expected, shared::DOUBLE AS "found"
    FROM shared
    JOIN models USING (task_id)
    WHERE shared > 0
    GROUP BY task_id, split, shared, instances
"""

_STORED: Final = """
    SELECT
        model_id, "check", severity, CASE layer WHEN '' THEN message ELSE layer || ': ' || message END AS message,
        expected, "found"
    FROM findings
    WHERE severity IN ('warning', 'error')
"""

_SUMMARIES: Final = {
    "answered": "SELECT model_id, avg(correct::INT) AS share, count(*) AS answers FROM predictions GROUP BY ALL",
    "weights": """
        SELECT
            model_id, layer, tensor, module, len(shape) AS axes, parameters, zeros, effective_bits,
            l1, l2, "min", "max", relative_change, reshaped
        FROM layers
    """,
    "leaks": _LEAKS,
}
"""What several checks need, or one of a large table: each is read once, not by every check."""

CHECKS: Final = (
    _SAME_METRICS, _SAME_WEIGHTS, _MISSING, _OUT_OF_RANGE, _CLAIMED, _REPEATED, _ANSWERS, _UNANSWERED, _NOT_FINITE,
    _INTERVAL, _CONTRADICTIONS, _SPREAD, _LAYERS_SPARSITY, _BITS, _SKIPPED, _BROKEN, _GREW, _CONSTANT, _UNITS, _LEAK,
    _LEAK_ABOVE, _SPLITS, _STORED,
)  # fmt: skip


def lint(views: Views, ids: Iterable[str] | None = None) -> pa.Table:
    """What looks wrong, gravest first: a row per model and thing noticed.

    Columns: model_id, name, check, severity (error or warning), message, expected, found.

    The checks:
        same_metrics_as_parent, same_weights_as_parent: a child with its parent's metrics, or its very file.
        metric_missing, predictions_missing: what models of the same parent, or task, have.
        metric_out_of_range, metric_not_finite, interval_misses_value: a value outside its definition or its interval.
        metrics_contradict: more non-zero weights than weights, a percentile above a higher one, top 1 above top 5.
        measurements_differ, spread_exceeds_mean: repeats that disagree more than their intervals allow, or than their
            mean.
        predictions_contradict_accuracy: a recorded accuracy that the predictions do not bear out.
        metric_constant: what was measured on data or by a clock is one value for all models; at the task's first model.
        unit_contradicts_values: a unit that is missing or cannot be; at the task's first model.
        sparsity_differs, sparsity_contradicts_layers, bits_differ: claimed or recorded against real.
        layers_skipped: layers that a step left as they were, though nothing excludes them.
        weights_not_finite: NaN or infinite weights.
        size_grew: a file that compression made larger.
        evaluation_data_used: a step that read the evaluation split or whose parameters name evaluation data, at its
            model and at all that were made from it.
        splits_overlap: training or calibration instances, by identity or content, that the evaluation split holds too;
            at the task's first model.
        and the stored findings of severity warning and error, among them operations of imported models that were never
            declared.

    Which splits a step of this program read is in `models.data_used`; of imported steps only their parameters tell.

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
    return views.sql(text, [wanted], {name: views.sql(summary) for name, summary in _SUMMARIES.items()})
