-- The texts that are shown, one a row.
SELECT instance, model_id, text, correct, f1, loss
FROM predictions
WHERE (model_id IN $ids OR model_id = $base)
ORDER BY instance, model_id
