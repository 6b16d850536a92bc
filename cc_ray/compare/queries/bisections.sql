-- The same bisections.
SELECT *
FROM bisections
WHERE model_id IN $ids
ORDER BY "at" DESC, model_id, metric
