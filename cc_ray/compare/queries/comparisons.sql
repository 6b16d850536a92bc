-- The same comparisons.
SELECT *
FROM comparisons
ORDER BY "at" DESC, comparison_id
