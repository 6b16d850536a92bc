-- Grain: a model that has metrics, one column per metric, over all instances.
-- model_id: identity of the model
-- <metric>: the metric's value; there is one such column for every metric in the store
-- <metric>_low: lower end of the value's 95 % interval; null where there is none
-- <metric>_high: upper end of the value's 95 % interval; null where there is none
CREATE TABLE model_metrics AS
PIVOT (
    SELECT
        model_id,
        unnest([metric, metric || '_low', metric || '_high']) AS name,
        unnest([value, ci_low, ci_high]) AS value,
        (split, device, rowid) AS place
    FROM metrics
    WHERE slice = 'all'
)
-- A metric that was measured on several devices, or more than once, is shown for the first of them.
ON name USING arg_min_null(value, place) GROUP BY model_id;
