-- Grain: a model compared with another one, over the instances of one class. Name base_id in WHERE.
-- model_id: identity of the model
-- base_id: identity of the model that it is compared with
-- label: index of the true class
-- n: number of instances
-- correct: number that the model gets right
-- base_correct: number that the base gets right
-- lost: number that only the base gets right
-- gained: number that only the model gets right
-- agreement: share of instances on which both predict the same class
-- kl_mean: mean KL divergence of the model from the base, in nats; null where it was not recorded: see pairs
CREATE VIEW class_behaviours AS
SELECT
    model_id,
    base_id,
    label,
    count(*) AS n,
    count_if(correct)::BIGINT AS correct,
    count_if(base_correct)::BIGINT AS base_correct,
    count_if(lost)::BIGINT AS lost,
    count_if(gained)::BIGINT AS gained,
    avg(agree::INT) AS agreement,
    avg(kl) AS kl_mean
FROM pairs
GROUP BY model_id, base_id, label;
