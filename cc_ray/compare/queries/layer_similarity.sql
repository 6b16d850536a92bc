-- The outputs that are compared, every layer with every one.
SELECT model_id, layer, module, instances, shape, "values"
FROM activations
WHERE model_id IN ($model, $base)
ORDER BY layer, model_id
