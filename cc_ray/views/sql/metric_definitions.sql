-- Grain: a metric.
-- metric: name, with its unit where it has one
-- label: name on the screen
-- unit: unit; empty for counts and shares
-- direction: higher, lower or none: which values are better
-- min: smallest possible value
-- max: largest possible value
-- primary: shown first
-- format: percent, bytes, count, ms, bits or number
-- meaning: definition in one sentence
CREATE VIEW metric_definitions AS
SELECT DISTINCT ON (metric) *
FROM stored.metric_definitions
ORDER BY metric;
