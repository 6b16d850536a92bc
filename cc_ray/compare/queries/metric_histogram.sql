-- The values that are counted by bin.
SELECT model_id, value
FROM metric_changes
WHERE metric = $metric
ORDER BY value
