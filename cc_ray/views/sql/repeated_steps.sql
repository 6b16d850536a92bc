-- Grain: a step that ran to its end more than once: work that was done twice.
-- model_id: identity of the model that it makes
-- kind: step (makes and measures the model) or latency (times it)
-- executions: how often it ran to its end
-- studies: the studies that asked for it
CREATE VIEW repeated_steps AS
SELECT model_id, kind, count(*) AS executions, list_sort(list(DISTINCT study_id)) AS studies
FROM step_runs
WHERE outcome IN ('published', 'discarded')
GROUP BY model_id, kind
HAVING count(*) > 1;
