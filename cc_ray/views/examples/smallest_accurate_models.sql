-- The ten smallest models that keep at least 95 % of the best accuracy.
SELECT model_id, name, accuracy.value AS accuracy, size.value AS size_bytes
FROM models
JOIN metrics AS accuracy USING (model_id)
JOIN metrics AS size USING (model_id)
WHERE accuracy.metric = 'accuracy' AND accuracy.slice = 'all' AND size.metric = 'size_bytes'
    AND accuracy.value >= 0.95 * (SELECT max(value) FROM metrics WHERE metric = 'accuracy' AND slice = 'all')
ORDER BY size_bytes
LIMIT 10
