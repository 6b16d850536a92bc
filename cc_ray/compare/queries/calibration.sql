-- The same means; errors by bin are computed from the answers.
SELECT
    model_id,
    count(*) AS n,
    avg(correct::INT) AS accuracy,
    avg(confidence) AS confidence,
    avg(confidence) - avg(correct::INT) AS overconfidence,
    avg(loss) AS nll
FROM predictions
WHERE model_id IN $ids
GROUP BY ALL
