-- The same studies and counts.
SELECT
    studies.*,
    count(trial_id) AS trials,
    count_if(trials.state = 'finished') AS finished,
    count_if(trials.state = 'failed') AS failed,
    count_if(trials.state = 'running') AS running,
    count_if(trials.state = 'pending') AS pending,
    count_if(trials.state = 'stopped') AS stopped,
    if(count(trial_id) > 0, count(DISTINCT model_id), coalesce(any_value(own), 0)) AS models
FROM studies
LEFT JOIN trials USING (study_id)
LEFT JOIN (SELECT study_id, count(*) AS own FROM models GROUP BY study_id) USING (study_id)
GROUP BY ALL
ORDER BY started_at DESC
