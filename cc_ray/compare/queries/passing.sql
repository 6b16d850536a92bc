-- The same models, with every metric.
SELECT models.*, model_metrics.* EXCLUDE (model_id)
FROM models
LEFT JOIN model_metrics USING (model_id)
  AND $at_least
  AND $at_most
  AND list_bool_and([ -- $search
    contains(lower(concat_ws(' ', model_id, name, replace(name, '_', ' '))), word)
    FOR word IN string_split(lower($search), ' ')
  ])
ORDER BY created_at, step_index, model_id
