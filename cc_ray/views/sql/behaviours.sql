-- Grain: a model compared with another one, over all instances that both answered. Name base_id in WHERE.
-- model_id: identity of the model
-- base_id: identity of the model that it is compared with
-- n: number of instances
-- correct: number that the model gets right
-- base_correct: number that the base gets right
-- lost: number that only the base gets right
-- gained: number that only the model gets right
-- agreement: share of instances on which both predict the same class
-- wrong_to_different_wrong: share of instances on which both are wrong in different ways
-- kl_mean: mean KL divergence of the model from the base, in nats; null where it was not recorded: see pairs
-- kl_median: its median over instances, in nats
-- kl_p90: its 90th percentile over instances, in nats
-- kl_p99: its 99th percentile over instances, in nats
-- kl_max: its maximum over instances, in nats
CREATE VIEW behaviours AS
-- The three percentiles as one list: each of its own would hold all values once more.
SELECT * EXCLUDE (kl_percentiles, kl_max), kl_percentiles[1] AS kl_median, kl_percentiles[2] AS kl_p90,
    kl_percentiles[3] AS kl_p99, kl_max
FROM (
    SELECT
        model_id,
        base_id,
        count(*) AS n,
        count_if(correct)::BIGINT AS correct,
        count_if(base_correct)::BIGINT AS base_correct,
        count_if(lost)::BIGINT AS lost,
        count_if(gained)::BIGINT AS gained,
        avg(agree::INT) AS agreement,
        avg((NOT correct AND NOT base_correct AND NOT agree)::INT) AS wrong_to_different_wrong,
        avg(kl) AS kl_mean,
        quantile_cont(kl, [0.5, 0.9, 0.99]) AS kl_percentiles,
        max(kl) AS kl_max
    FROM pairs
    GROUP BY model_id, base_id
);
