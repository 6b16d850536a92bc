-- Grain: a model and one of those it came from, itself included. An edge to a model of more steps is none.
-- model_id: the younger model
-- ancestor: model_id of the older model
-- distance: number of steps between them; 0 for the model itself
CREATE TABLE ancestry AS
WITH RECURSIVE found(model_id, ancestor, distance, age) AS (
    SELECT model_id, model_id, 0, row(step_index, created_at)
    FROM models
    UNION
    SELECT found.model_id, lineage.parent, found.distance + 1, row(known.step_index, known.created_at)
    FROM found
    JOIN lineage ON lineage.child = found.ancestor AND lineage.role = 'parent'
    -- Damaged edges could go round in circles.
    JOIN models AS known ON known.model_id = lineage.parent AND row(known.step_index, known.created_at) < found.age
)
SELECT model_id, ancestor, distance
FROM found;
