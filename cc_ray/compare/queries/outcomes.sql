-- The same counts; what never happened has no row.
SELECT
    model_id,
    base_id,
    CASE WHEN base_correct THEN 'right' ELSE 'wrong' END AS base_outcome,
    CASE
        WHEN correct THEN 'right'
        WHEN base_correct THEN 'wrong'
        WHEN agree THEN 'same wrong'
        ELSE 'other wrong'
    END AS outcome,
    count(*) AS count
FROM pairs
WHERE base_id = $base
  AND model_id IN $ids
GROUP BY ALL
ORDER BY ALL
