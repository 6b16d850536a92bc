-- What the tables hold of the tensors; the changes are computed from the saved weights.
SELECT model_id, layer, tensor, parameters, zeros, "min", "max", histogram, histogram_edges, relative_change
FROM layers
WHERE (model_id IN $ids OR model_id = $base)
  AND (layer = $path OR starts_with(layer, $path || '.'))
ORDER BY layer, tensor, model_id
