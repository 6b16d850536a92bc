-- Grain: an instance under a model and under another one of the same task. Name base_id and model_id in WHERE.
-- model_id: identity of the model
-- base_id: identity of the model that it is compared with; any model
-- instance: identity of the instance within the task
-- label: index of the true class
-- prediction: the model's prediction
-- base_prediction: the base's prediction
-- correct: the model is right
-- base_correct: the base is right
-- lost: the base is right and the model wrong
-- gained: the base is wrong and the model right
-- agree: both predict the same class
-- confidence: probability of the model's prediction
-- base_confidence: probability of the base's prediction
-- true_probability: the true class's probability under the model
-- base_true_probability: the true class's probability under the base
-- loss: the model's loss, in nats
-- base_loss: the base's loss, in nats
-- kl: KL divergence of the model from the base, in nats, where the base is its own base model or parent and the step recorded it; for any other two models see divergences
-- mse: mean over classes of (p - p_base)^2, recorded likewise
CREATE VIEW pairs AS
-- Looked up rather than joined: what is joined DuckDB may hold in memory, and predictions are many.
WITH origin AS MATERIALIZED (
    SELECT
        model_id,
        any_value(task_id) AS task_id,
        min(ancestor) FILTER (distance = 1) AS parent,
        arg_max(ancestor, distance) AS root
    FROM models
    JOIN ancestry USING (model_id)
    GROUP BY model_id
)
SELECT
    p.model_id,
    b.model_id AS base_id,
    p.instance,
    p.label,
    p.prediction,
    b.prediction AS base_prediction,
    p.correct,
    b.correct AS base_correct,
    b.correct AND NOT p.correct AS lost,
    p.correct AND NOT b.correct AS gained,
    p.prediction = b.prediction AS agree,
    p.confidence,
    b.confidence AS base_confidence,
    p.true_probability,
    b.true_probability AS base_true_probability,
    p.loss,
    b.loss AS base_loss,
    CASE b.model_id
        WHEN p.model_id THEN 0
        WHEN p.origin.root THEN p.kl_from_base
        WHEN p.origin.parent THEN p.kl_from_parent
    END AS kl,
    CASE b.model_id
        WHEN p.model_id THEN 0
        WHEN p.origin.root THEN p.mse_from_base
        WHEN p.origin.parent THEN p.mse_from_parent
    END AS mse
FROM (
    SELECT *, (SELECT origin FROM origin WHERE origin.model_id = predictions.model_id) AS origin FROM predictions
) AS p
JOIN (
    SELECT *, (SELECT task_id FROM origin WHERE origin.model_id = predictions.model_id) AS task_id FROM predictions
) AS b ON b.instance = p.instance AND b.task_id = p.origin.task_id;
