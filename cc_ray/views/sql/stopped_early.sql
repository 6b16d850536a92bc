-- Grain: a model whose step was stopped early, as a study last reported it.
-- study_id: the study that asked for the step
-- model_id: identity of the model
-- name: the whole recipe as a person reads it
-- epoch: epochs of training behind it; 0 where it was made and only measured still
-- split: split of the task's data that it was measured on
-- n: instances that it was measured on
-- metric: name of the metric
-- value: the value, in the metric's unit
-- peers: other models of the study that came as far
-- reason: what the rule had against it
-- made_since: whether the model is there now, because something else needed it
-- at: when it was stopped
CREATE VIEW stopped_early AS
WITH counted AS (
    SELECT
        *,
        count(*) OVER (PARTITION BY study_id, task_id, metric, epoch, split, n) - 1 AS peers,
        row_number() OVER (PARTITION BY study_id, model_id ORDER BY "at" DESC) AS place
    FROM reports
)
SELECT
    study_id, model_id, name, epoch, split, n, metric, value, peers, reason,
    model_id IN (SELECT model_id FROM models) AS made_since, "at"
FROM counted
WHERE place = 1 AND decision = 'stop';
