"""A split of the data, held in memory to judge many models of one task by."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from cc_ray.evaluate.answers import Answers
from cc_ray.evaluate.layers import changes
from cc_ray.evaluate.metrics import Measurement, Value, metrics
from cc_ray.evaluate.predictions import predict
from cc_ray.evaluate.stored_model import StoredModel
from cc_ray.tasks import Split


class Judge:
    """Judges what is made of a model, by the metrics that were taken from the model's own answers.

    Args:
        stored: The model.
        split: Of its task's data.
    """

    def __init__(self, stored: StoredModel, split: Split = "evaluation") -> None:
        self._task = stored.task
        self._data = stored.task.data(split)
        self._metrics = {name: metrics[name] for name in stored.judged_on(split)}
        self._base_correct = stored.base_correct(self._data.instances.numpy()) if split == "evaluation" else None

    def answers(self, model: nn.Module) -> Answers:
        """The model's answers to every instance."""
        found: Answers = predict(self._task, model, self._data)
        return found

    def values(self, model: nn.Module, answers: Answers) -> dict[str, Value]:
        """Each metric over the whole split, by name.

        Args:
            model: The model.
            answers: Its answers.
        """
        measurement = Measurement(
            task=self._task,
            model=model,
            inputs=self._data.inputs[:1],
            predictions=answers,
            slices={"all": np.ones(len(self._data), bool)},
            # Metrics of answers look at no weights, and to describe those would take longer than to answer.
            layers=(),
            artifact_size=0,
            base_correct=self._base_correct,
        )
        return {name: value for name, metric in self._metrics.items() for value in metric.values(measurement)}


def sqnr_db(values: Tensor, reference: Tensor) -> float | None:
    """20 log10(||reference|| / ||reference - values||), in dB; None when equal, reshaped or against zeros."""
    if values.shape != reference.shape:
        return None
    mine, theirs = (tensor.detach().double().numpy().ravel() for tensor in (values, reference))
    return changes(mine, theirs)[0]
