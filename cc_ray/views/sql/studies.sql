-- Grain: a study, in its last state.
-- study_id: identity of the study: the search space's name
-- state: running, finished, stopped or failed
-- task_id: the task it searches over
-- search_space: the search space, JSON
-- objectives: metric names with direction, JSON
-- started_at: when the last session of the study began
-- finished_at: when it ended; null while it runs
-- code_version: version of CC-Ray
-- environment: library versions, device and node, JSON
-- reason: why it ended before all trials had; null where they all ended, or it runs
-- started_by: who started the last session, where it was started from the dashboard
-- branched_from: model_id of the models that its recipes go on from; null where they begin anew
-- at: when the state changed
CREATE VIEW studies AS
SELECT *
FROM stored.studies
-- Of two changes at one time the one that ends the study is the later.
QUALIFY row_number() OVER (PARTITION BY study_id ORDER BY "at" DESC, state = 'running') = 1;
