-- The outputs whose histograms are brought to common bins.
SELECT layer AS path, module, model_id, mean, std, zeros, histogram, histogram_edges
FROM activations
WHERE model_id IN $ids
  AND (layer = $path OR starts_with(layer, $path || '.'))
ORDER BY layer, model_id
