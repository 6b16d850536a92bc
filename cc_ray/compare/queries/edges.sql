-- The same edges.
SELECT *
FROM edges
