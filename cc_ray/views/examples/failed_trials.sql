-- Why trials failed, the most frequent reason first.
SELECT study_id, failed_step, reason, count(*) AS trials
FROM trials
WHERE state = 'failed'
GROUP BY ALL
ORDER BY trials DESC
