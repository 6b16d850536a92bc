-- The values that are compared; each model's base has them, too.
SELECT model_id, name, $objectives
FROM models
JOIN model_metrics USING (model_id)
  AND $at_least
  AND $at_most
