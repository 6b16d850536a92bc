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
-- kl: KL divergence of the model from the base, sum p_base ln(p_base / p_model), in nats; p_model counts as 1e-12 at least
CREATE VIEW pairs AS
WITH logs AS (
    SELECT
        *,
        probabilities::DOUBLE[] AS p,
        list_transform(probabilities::DOUBLE[], LAMBDA x: ln(greatest(x, 1e-12))) AS log
    FROM predictions
),
base_logs AS (
    SELECT *, list_inner_product(p, log) AS own_log FROM logs
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
    -- Rounding alone could make it negative.
    greatest(0, b.own_log - list_inner_product(b.p, p.log)) AS kl
FROM logs AS p
JOIN base_logs AS b ON b.instance = p.instance
JOIN models AS model ON model.model_id = p.model_id
JOIN models AS base ON base.model_id = b.model_id AND base.task_id = model.task_id;
