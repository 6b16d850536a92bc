-- Grain: a comparison that was saved on the dashboard, as it was last changed. Deleted ones are none.
-- comparison_id: identity of the comparison, which it keeps under other names
-- state: saved
-- name: what it is called
-- note: what was written about it; several lines
-- page: page of the dashboard that it shows
-- query: the choices on that page: the query part of its address, with its ?
-- models: model_id of the models that were selected, in order of choice; some may be gone
-- base_id: model_id of the model that they were compared with; null where none was chosen
-- user: who changed it last; empty where there is no login
-- at: when it was changed last
CREATE VIEW comparisons AS
SELECT *
FROM stored.comparisons
-- Of two changes at one time the one that deletes is the later.
QUALIFY row_number() OVER (PARTITION BY comparison_id ORDER BY "at" DESC, state) = 1 AND state = 'saved';
