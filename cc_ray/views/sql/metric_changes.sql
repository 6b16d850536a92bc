-- Grain: a model's metric over all instances, beside its parent's and its base model's.
-- model_id: identity of the model
-- metric: name of the metric
-- value: the model's value, in the metric's unit
-- ci_low: lower end of the 95 % interval
-- ci_high: upper end of the 95 % interval
-- parent_value: the parent's value on the same split and device; null for a base model
-- base_value: the value of the base model that the recipe starts from, on the same split and device
CREATE VIEW metric_changes AS
WITH measured AS (
    SELECT *
    FROM metrics
    WHERE slice = 'all'
    QUALIFY row_number() OVER (PARTITION BY model_id, metric, split, device) = 1
),
chosen AS (
    SELECT *
    FROM measured
    QUALIFY row_number() OVER (PARTITION BY model_id, metric ORDER BY split, device) = 1
),
root AS (
    SELECT model_id, arg_max(ancestor, distance) AS base_id FROM ancestry GROUP BY model_id
)
SELECT
    chosen.model_id,
    chosen.metric,
    chosen.value,
    chosen.ci_low,
    chosen.ci_high,
    parent.value AS parent_value,
    base.value AS base_value
FROM chosen
JOIN root USING (model_id)
LEFT JOIN lineage ON lineage.child = chosen.model_id AND lineage.role = 'parent'
LEFT JOIN measured AS parent
    ON parent.model_id = lineage.parent AND parent.metric = chosen.metric
    AND parent.split = chosen.split AND parent.device = chosen.device
LEFT JOIN measured AS base
    ON base.model_id = root.base_id AND base.metric = chosen.metric
    AND base.split = chosen.split AND base.device = chosen.device;
