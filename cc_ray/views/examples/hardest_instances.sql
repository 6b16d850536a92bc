-- The twenty instances that most models get wrong, with the mean loss over the models.
SELECT instance, label, count_if(NOT correct) AS wrong, count(*) AS models, avg(loss) AS mean_loss
FROM predictions
GROUP BY instance, label
ORDER BY wrong DESC, mean_loss DESC
LIMIT 20
