-- The answers that are scored.
SELECT model_id, instance, correct, f1, loss, tokens, kl_from_base, kl_from_parent, text
FROM predictions
WHERE (model_id IN $ids OR model_id = $base)
ORDER BY instance, model_id
