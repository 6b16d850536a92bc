-- The tensors that modules are sums of; zeros in common are counted in the saved weights.
SELECT *
FROM layer_pairs
WHERE base_id = $base
  AND model_id IN $ids
  AND regexp_matches(layer, $pattern, 'i')
ORDER BY layer, tensor, model_id
