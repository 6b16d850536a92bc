-- What each operation does to each metric, on average against the parent.
SELECT operation, metric, count(*) AS steps, avg(value - parent_value) AS mean_change
FROM metric_changes
JOIN models USING (model_id)
WHERE operation IS NOT NULL AND parent_value IS NOT NULL
GROUP BY ALL
ORDER BY operation, metric
