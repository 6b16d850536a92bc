-- The recipes that ran with several seeds, in all studies.
SELECT *
FROM repeats
