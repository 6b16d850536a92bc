-- The values whose volume grows, model by model.
SELECT created_at, model_id, name, $objectives
FROM models
JOIN model_metrics USING (model_id)
WHERE model_id IN (SELECT ancestor FROM ancestry JOIN trials USING (model_id) WHERE study_id = $study)
ORDER BY created_at
