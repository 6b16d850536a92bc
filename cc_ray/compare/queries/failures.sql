-- The same reasons.
SELECT failed_step, reason, count(*) AS trials, list(recipe_text ORDER BY "at", trial_id) AS recipes
FROM trials
WHERE study_id = $study
  AND state = 'failed'
GROUP BY failed_step, reason
ORDER BY trials DESC
