-- The values that are compared, within each group of models.
SELECT model_id, name, operation, base, study_id, $objectives
FROM models
JOIN model_metrics USING (model_id)
  AND model_id IN $ids
