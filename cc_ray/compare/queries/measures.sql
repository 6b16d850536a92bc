-- The same means; intervals and p-values are computed from the rows below them.
SELECT
    p.model_id,
    p.label, -- $by_class
    s.slice, -- $by_slice
    avg(p.$measure:name::DOUBLE) AS mean, -- $measure=correct|confidence|true_probability|loss|margin|entropy
    avg(b.$measure:name::DOUBLE) AS base_mean, -- $measure=correct|confidence|true_probability|loss|margin|entropy
    avg(p.probabilities[b.prediction + 1]) AS mean, -- $measure=base_class_probability
    avg(b.probabilities[b.prediction + 1]) AS base_mean, -- $measure=base_class_probability
    avg((p.prediction = b.prediction)::INT) AS mean, -- $measure=agree
    avg(d.$measure:name) AS mean, -- $measure=kl|mse
    count(*) AS n
FROM predictions AS p
JOIN predictions AS b USING (instance)
JOIN divergences AS d ON (d.model_id, d.base_id, d.instance) = (p.model_id, b.model_id, p.instance) -- $measure=kl|mse
JOIN (SELECT instance, unnest(slices) AS slice FROM instances) AS s USING (instance) -- $by_slice
WHERE b.model_id = $base
  AND p.model_id IN $ids
  AND p.label = $label
  AND p.instance IN ( -- $where
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
GROUP BY ALL
ORDER BY ALL
