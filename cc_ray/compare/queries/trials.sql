-- The same trials.
SELECT *
FROM trials
WHERE study_id = $study
ORDER BY "at", trial_id
