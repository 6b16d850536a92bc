-- The values that are compared: a model is on the front if no other one is as good on all and better on one.
SELECT model_id, name, $objectives
FROM models
JOIN model_metrics USING (model_id)
  AND model_id IN $ids
  AND $at_least
  AND $at_most
