-- The layers with the largest share of zeros.
SELECT name, layer, tensor, layers.parameters, zeros / layers.parameters AS sparsity, effective_bits
FROM layers
JOIN models USING (model_id)
WHERE layers.parameters > 0
ORDER BY sparsity DESC
LIMIT 50
