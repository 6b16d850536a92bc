-- Grain: an edge of the lineage between two models of the store, with what the step was.
-- child: model_id of the younger model
-- parent: model_id of the older model
-- role: parent, teacher (distillation), donor (restored weights) or calibration
-- child_name: the younger model's recipe
-- parent_name: the older model's recipe
-- operation: operation that made the younger model
-- parameters: the operation's parameters, JSON
CREATE VIEW edges AS
SELECT
    lineage.child,
    lineage.parent,
    lineage.role,
    child.name AS child_name,
    parent.name AS parent_name,
    child.operation,
    child.parameters
FROM lineage
JOIN models AS child ON child.model_id = lineage.child
JOIN models AS parent ON parent.model_id = lineage.parent;
