-- The values that are counted by bin.
SELECT
    p.model_id,
    p.instance,
    p.$measure:name AS value, -- $measure=correct|confidence|true_probability|loss|margin|entropy
    b.$measure:name AS base_value, -- $measure=correct|confidence|true_probability|loss|margin|entropy
    p.probabilities[b.prediction + 1] AS value, -- $measure=base_class_probability
    p.prediction = b.prediction AS value, -- $measure=agree
    d.$measure:name AS value, -- $measure=kl|mse
    p.label
FROM predictions AS p
JOIN predictions AS b USING (instance)
JOIN divergences AS d ON (d.model_id, d.base_id, d.instance) = (p.model_id, b.model_id, p.instance) -- $measure=kl|mse
WHERE b.model_id = $base
  AND p.model_id IN $ids
  AND p.label = $label
