-- The same counts.
SELECT base_id AS model_id, model_id AS other_id, count(*) AS n, count_if(lost) AS lost, avg(lost::INT) AS share
FROM pairs
WHERE base_id IN $ids
  AND model_id IN $ids
  AND base_id <> model_id
GROUP BY ALL
