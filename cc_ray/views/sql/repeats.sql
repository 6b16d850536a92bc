-- Grain: a metric of a recipe that was run with several seeds, over all instances.
-- task_id: the task it solves
-- name: the whole recipe as a person reads it
-- metric: name of the metric
-- seeds: number of seeds
-- mean: mean over the seeds
-- std: standard deviation over the seeds, with n - 1
-- min: smallest value
-- max: largest value
CREATE VIEW repeats AS
WITH recipes AS (
    SELECT model_id, task_id, name, seed, json_merge_patch(recipe, '{"seed": null}') AS recipe FROM models
),
chosen AS (
    SELECT *
    FROM recipes
    JOIN metrics USING (model_id)
    WHERE slice = 'all' AND isfinite(value)
    -- A recipe counts once a seed; a metric that was measured on several devices for the first of them.
    QUALIFY row_number() OVER (PARTITION BY task_id, recipe, seed, metric ORDER BY split, device, model_id) = 1
)
SELECT
    task_id, any_value(name) AS name, metric, count(*) AS seeds, avg(value) AS mean, stddev_samp(value) AS std,
    min(value) AS min, max(value) AS max
FROM chosen
GROUP BY task_id, recipe, metric
HAVING count(*) > 1;
