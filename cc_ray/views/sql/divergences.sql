-- Grain: an instance under a model and under another one of the same task, by their lists of probabilities; slow where there are many classes. Name base_id and model_id in WHERE.
-- model_id: identity of the model
-- base_id: identity of the model that it is compared with; any model
-- instance: identity of the instance within the task
-- kl: KL divergence of the model from the base, sum p_base ln(p_base / p_model), in nats; within the logarithm a probability counts as 2^-25 at least, and what the lists' sums differ by is taken off
-- mse: mean over classes of (p - p_base)^2
CREATE VIEW divergences AS
WITH logs AS (
    SELECT
        model_id,
        instance,
        probabilities::DOUBLE[] AS p,
        list_transform(probabilities::DOUBLE[], LAMBDA x: ln(greatest(x, pow(2, -25)))) AS log
    FROM predictions
),
base_logs AS (
    SELECT *, list_inner_product(p, log) - list_sum(p) AS own_log FROM logs
)
SELECT
    p.model_id,
    b.model_id AS base_id,
    p.instance,
    -- Rounding alone could make it negative.
    greatest(0, b.own_log + list_sum(p.p) - list_inner_product(b.p, p.log)) AS kl,
    pow(list_distance(p.p, b.p), 2) / len(p.p) AS mse
FROM logs AS p
JOIN base_logs AS b ON b.instance = p.instance
JOIN models AS model ON model.model_id = p.model_id
JOIN models AS base ON base.model_id = b.model_id AND base.task_id = model.task_id;
