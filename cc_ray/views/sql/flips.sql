-- Grain: an instance that is right under one model and wrong under another. Name base_id and model_id in WHERE.
-- model_id: identity of the model
-- base_id: identity of the model that it is compared with
-- instance: identity of the instance within the task
-- label: index of the true class
-- base_prediction: the base's prediction
-- prediction: the model's prediction
-- change: lost (only the base is right) or gained (only the model is right)
CREATE VIEW flips AS
SELECT
    model_id,
    base_id,
    instance,
    label,
    base_prediction,
    prediction,
    CASE WHEN lost THEN 'lost' ELSE 'gained' END AS change
FROM pairs
WHERE lost OR gained;
