-- The same reports.
SELECT model_id, name, epoch, split, n, metric, value, size_bytes, decision, reason, "at"
FROM reports
WHERE study_id = $study
ORDER BY "at", model_id
