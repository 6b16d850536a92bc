-- The same findings.
SELECT findings.*, name
FROM findings
JOIN models USING (model_id)
WHERE model_id IN $ids
