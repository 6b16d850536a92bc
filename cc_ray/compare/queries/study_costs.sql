-- The same sums.
SELECT
    study_id,
    count(*) AS runs,
    count_if(outcome = 'failed') AS failed,
    coalesce(sum(cpus * duration_s), 0) / 3600 AS cpu_hours,
    coalesce(sum(gpus * duration_s), 0) / 3600 AS gpu_hours
FROM step_runs
WHERE study_id <> ''
GROUP BY ALL
