-- The predictions whose most frequent one is compared, by population.
SELECT instance, label, model_id IN $base_ids AS of_base, prediction, count(*) AS models
FROM predictions
WHERE (model_id IN $base_ids OR model_id IN $compressed_ids)
GROUP BY ALL
ORDER BY instance, of_base DESC, models DESC
