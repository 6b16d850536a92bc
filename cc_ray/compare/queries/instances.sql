-- The answers that are shown, one a row.
SELECT
    pairs.instance, label_name, pairs.model_id, base_prediction, prediction, base_correct, correct, confidence,
    true_probability, loss
FROM pairs
JOIN models USING (model_id)
JOIN instances USING (task_id, instance)
WHERE base_id = $base
  AND pairs.model_id IN $ids
  AND pairs.label = $label
  AND pairs.instance IN ( -- $where
    SELECT instance
    FROM (
        SELECT
            answers.*, instances.* EXCLUDE (task_id, instance, label),
            CASE payload_type WHEN 'text/plain' THEN decode(payload) END AS input
        FROM predictions AS answers
        JOIN models USING (model_id)
        LEFT JOIN instances ON (instances.task_id, instances.instance) = (models.task_id, answers.instance)
        WHERE model_id = $base
    )
    WHERE ($where)
  )
QUALIFY bool_or(lost OR gained) OVER (PARTITION BY pairs.instance) -- $only=flipped
QUALIFY bool_or(lost) OVER (PARTITION BY pairs.instance) -- $only=lost
QUALIFY bool_or(gained) OVER (PARTITION BY pairs.instance) -- $only=gained
QUALIFY bool_or(NOT agree) OVER (PARTITION BY pairs.instance) -- $only=disagree
QUALIFY bool_and(NOT correct) OVER (PARTITION BY pairs.instance) -- $only=wrong
ORDER BY pairs.instance, pairs.model_id
