-- The same counts.
SELECT
    base_prediction,
    prediction,
    count(*) AS count,
    count_if(lost) AS lost,
    count_if(gained) AS gained
FROM pairs
WHERE base_id = $base
  AND model_id = $model
  AND NOT agree
  AND label = $label
GROUP BY ALL
ORDER BY count DESC, base_prediction, prediction
LIMIT $limit
