-- The outputs that are compared.
SELECT layer AS path, module, model_id, instances, shape, "values", isolated_sqnr_db
FROM activations
WHERE (model_id IN $ids OR model_id = $base)
  AND regexp_matches(layer, $pattern, 'i')
ORDER BY layer, model_id
