-- Grain: a trial, in its last state.
-- study_id: the study it belongs to
-- trial_id: identity: hash of study and recipe
-- recipe: the recipe, JSON
-- recipe_text: the recipe as a person reads it
-- state: pending, running, finished, failed or stopped
-- reason: why it failed or stopped
-- failed_step: the step that failed or was stopped early, as a person reads it; null where its session was stopped
-- model_id: the model that the recipe ends in; null until it exists
-- steps_reused: models of the recipe that were there already, the base included
-- steps_run: models of the recipe that this trial made, the base included
-- hypervolume: hypervolume of the study's models when the trial ended, as compare has it
-- duration_s: time from start to this state, in s
-- at: when the state changed
CREATE VIEW trials AS
SELECT *
FROM stored.trials
-- Of two changes at one time the one that is further along is the later.
QUALIFY row_number() OVER (
    PARTITION BY study_id, trial_id
    ORDER BY "at" DESC, CASE state WHEN 'pending' THEN 2 WHEN 'running' THEN 1 ELSE 0 END
) = 1;
