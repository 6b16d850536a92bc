-- The same models and counts; intervals, p-values and divergences that were not recorded are computed.
SELECT name, behaviours.*
FROM behaviours
JOIN models USING (model_id)
WHERE base_id = $base
  AND model_id IN $ids
