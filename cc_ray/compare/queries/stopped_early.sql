-- The same models.
SELECT *
FROM stopped_early
WHERE study_id = $study
ORDER BY "at" DESC, model_id
