-- The values of the study's models, of which the best are shown.
SELECT metric, value, ci_low AS low, ci_high AS high, model_id, name
FROM metric_changes
JOIN models USING (model_id)
WHERE model_id IN (SELECT ancestor FROM ancestry JOIN trials USING (model_id) WHERE study_id = $study)
ORDER BY metric, value
