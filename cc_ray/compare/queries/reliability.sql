-- The same bins.
SELECT
    model_id,
    greatest(ceil(confidence::DOUBLE * 15)::INT - 1, 0) AS bin,
    count(*) AS n,
    avg(confidence) AS confidence,
    avg(correct::INT) AS accuracy
FROM predictions
WHERE model_id IN $ids
  AND confidence IS NOT NULL
GROUP BY ALL
ORDER BY ALL
