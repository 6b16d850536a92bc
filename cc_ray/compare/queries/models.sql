-- The same models, with every metric.
SELECT models.*, model_metrics.* EXCLUDE (model_id)
FROM models
LEFT JOIN model_metrics USING (model_id)
ORDER BY created_at, step_index, model_id
