-- What was measured of single layers; models compressed in one layer alone are added.
SELECT *
FROM sensitivity
WHERE metric = $metric
  AND coalesce(split, 'evaluation') = $split
  AND model_id IN $ids
ORDER BY model_id, operation, layer, level
