"""Measures a model on few instances while its step is under way, and tells whoever may end the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cc_ray.evaluate.answers import Answers
from cc_ray.evaluate.metrics import Measurement, metrics
from cc_ray.evaluate.predictions import predict
from cc_ray.reports import Listener, Report
from cc_ray.tasks import Data, Split, Task


class Examiner:
    """Measures one model of a step, after each epoch of training or else on a ladder.

    Args:
        task: What the model solves.
        listener: Whom to tell, and on how many instances.
        parent_bytes: Size of the saved parent.
    """

    def __init__(self, task: Task, listener: Listener, parent_bytes: int) -> None:
        self._task = task
        self._listener = listener
        self._parent_bytes = parent_bytes
        self.reported = False
        """Whether anything was told; then the ladder is left out."""

    def after_epoch(self, model: nn.Module, epoch: int) -> None:
        """Measure a model in training on calibration instances; it is left as it was.

        Args:
            model: On the step's device.
            epoch: Number of epochs behind it.

        Raises:
            StoppedEarlyError: If the step is to end.
        """
        part = self._calibration()
        if not len(part):
            return
        was_training = model.training
        predictions = predict(self._task, model.eval(), part)
        model.train(was_training)
        self._tell(model, part, predictions, "calibration", self._parent_bytes, epoch)

    def climb(self, model: nn.Module, size_bytes: int) -> Any:
        """Measure a finished model on a calibration subset, on parts of the evaluation split, then answer all of it.

        No instance is answered twice.

        Args:
            model: In evaluation mode, on the CPU.
            size_bytes: Of its saved file.

        Returns:
            Its answers to the whole evaluation split, of the task's kind.

        Raises:
            StoppedEarlyError: If the step is to end.
        """
        part = self._calibration()
        if len(part):
            predictions = predict(self._task, model, part)
            self._tell(model, part, predictions, "calibration", size_bytes)
        data = self._task.data("evaluation")
        order, found = _shuffled(len(data)), list[Answers]()
        ends = [max(1, round(share * len(data))) for share in self._listener.ladder.evaluation]
        for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
            if start < end:
                found.append(predict(self._task, model, _chosen(data, order[start:end])))
            if end < len(data):
                so_far = found[0].joined(found)
                self._tell(model, _chosen(data, order[:end]), so_far, "evaluation", size_bytes)
        return found[0].joined(found).chosen(np.argsort(order))

    def _calibration(self) -> Data:
        data = self._task.data("calibration")
        return _chosen(data, _shuffled(len(data))[: self._listener.ladder.calibration])

    def _tell(
        self, model: nn.Module, part: Data, predictions: Answers, split: Split, size_bytes: int, epoch: int = 0
    ) -> None:
        measurement = Measurement(
            task=self._task,
            model=model,
            inputs=part.inputs[:1],
            predictions=predictions,
            slices={"all": np.ones(len(part), bool)},
            # Metrics of answers look at nothing else.
            layers=(),
            artifact_size=size_bytes,
        )
        (found,) = metrics[self._listener.metric].values(measurement)
        self.reported = True
        self._listener.hear(Report(epoch, split, len(part), found.value, size_bytes))


def _shuffled(count: int) -> NDArray[np.int64]:
    """The same order for every model: splits may be sorted by class."""
    return np.random.default_rng(0).permutation(count)


def _chosen(data: Data, places: NDArray[np.int64]) -> Data:
    chosen = torch.from_numpy(places)
    return Data(data.inputs[chosen], data.labels[chosen], data.instances[chosen])
