-- Grain: a weight tensor of a model beside the same-named tensor of another model of the same task. Name base_id in WHERE.
-- model_id: identity of the model
-- base_id: identity of the model that it is compared with; any model
-- layer: module path; empty for the model itself
-- tensor: name within the module: weight, bias, ...
-- module: class of the module
-- parameters: number of values
-- zeros: number of values that are exactly zero
-- bits: bits on disk, scales and masks included
-- l1: sum of absolute values
-- base_parameters: the base's number of values; null where the base has no such tensor
-- base_zeros: the base's number of zeros
-- base_square: sum of squares of the base's values
-- matched: the base has this tensor in the same shape
-- zeros_both: values that are zero in both; null where the tables alone cannot tell
-- square_change: sum of squares of model - base; null where the tables alone cannot tell
CREATE VIEW layer_pairs AS
SELECT
    p.model_id,
    base.model_id AS base_id,
    p.layer,
    p.tensor,
    p.module,
    p.parameters,
    p.zeros,
    p.effective_bits * p.parameters AS bits,
    p.l1,
    b.parameters AS base_parameters,
    b.zeros AS base_zeros,
    b.l2 * b.l2 AS base_square,
    coalesce(p.shape = b.shape, false) AS matched,
    CASE
        WHEN p.shape IS DISTINCT FROM b.shape THEN NULL
        WHEN p.model_id = b.model_id THEN p.zeros
        WHEN p.zeros = 0 OR b.zeros = 0 THEN 0
    END AS zeros_both,
    CASE
        WHEN p.model_id = b.model_id THEN 0
        -- The tables hold changes against the parent only.
        WHEN lineage.parent IS NOT NULL THEN pow(p.relative_change * b.l2, 2)
    END AS square_change
FROM layers AS p
JOIN models AS model ON model.model_id = p.model_id
JOIN models AS base ON base.task_id = model.task_id
LEFT JOIN layers AS b ON b.model_id = base.model_id AND b.layer = p.layer AND b.tensor = p.tensor
LEFT JOIN lineage ON lineage.child = p.model_id AND lineage.parent = b.model_id AND lineage.role = 'parent';
