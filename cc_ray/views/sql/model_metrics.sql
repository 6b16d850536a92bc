-- Grain: a model that has metrics, one column per metric, over all instances.
-- model_id: identity of the model
-- <metric>: the metric's value; there is one such column for every metric in the store
-- <metric>_low: lower end of the value's 95 % interval; null where there is none
-- <metric>_high: upper end of the value's 95 % interval; null where there is none
CREATE TABLE model_metrics AS
WITH chosen AS (
    SELECT *
    FROM metrics
    WHERE slice = 'all'
    -- A metric that was measured on several devices is shown for the first of them.
    QUALIFY row_number() OVER (PARTITION BY model_id, metric ORDER BY split, device) = 1
),
cells AS (
    SELECT model_id, metric AS name, value FROM chosen
    UNION ALL
    SELECT model_id, metric || '_low', ci_low FROM chosen
    UNION ALL
    SELECT model_id, metric || '_high', ci_high FROM chosen
)
PIVOT cells ON name USING first(value);
