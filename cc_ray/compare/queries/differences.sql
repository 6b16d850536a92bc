-- The recipes whose differences are found.
SELECT model_id, name, recipe
FROM models
WHERE model_id IN $ids
