-- The pairs of answers among which slices are sought.
SELECT pairs.*, slices, p.entropy, p.margin
FROM pairs
JOIN models USING (model_id)
JOIN instances USING (task_id, instance)
JOIN predictions AS p ON p.model_id = base_id AND p.instance = pairs.instance
WHERE base_id = $base
  AND pairs.model_id = $model
