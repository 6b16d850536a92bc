-- The same metrics.
SELECT metric, value, ci_low AS low, ci_high AS high, parent_value, base_value
FROM metric_changes
WHERE model_id = $model
ORDER BY metric
