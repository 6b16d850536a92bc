-- Grain: a model and one of those it came from, itself included.
-- model_id: the younger model
-- ancestor: model_id of the older model
-- distance: number of steps between them; 0 for the model itself
CREATE TABLE ancestry AS
WITH RECURSIVE found(model_id, ancestor, distance) AS (
    SELECT model_id, model_id, 0
    FROM models
    UNION
    SELECT found.model_id, lineage.parent, found.distance + 1
    FROM found
    JOIN lineage ON lineage.child = found.ancestor AND lineage.role = 'parent'
    JOIN models AS known ON known.model_id = lineage.parent
)
FROM found;
