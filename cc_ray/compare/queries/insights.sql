-- The changes that most of it is found in; each row of the answer has the query of its own evidence.
SELECT model_id, name, metric, value, ci_low, ci_high, parent_value, base_value
FROM metric_changes
JOIN models USING (model_id)
ORDER BY model_id, metric
