-- Accuracy of each model by class, the worst first.
SELECT name, label, avg(correct::INT) AS accuracy, count(*) AS n
FROM predictions
JOIN models USING (model_id)
GROUP BY ALL
ORDER BY accuracy
