"""Predictions: what a model answers to every evaluation instance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy.special import entr
from torch import nn

from cc_ray.schema import PREDICTIONS
from cc_ray.tasks import Data, Task

BATCH_SIZE: Final = 256

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Predictions:
    """A model's answers, one row an instance."""

    instances: Integers
    """Identity of each instance, (n,)."""
    labels: Integers
    """Index of the true class, (n,)."""
    log_probabilities: Floats
    """Natural logarithm of each class's probability, (n, classes)."""

    @cached_property
    def probabilities(self) -> Floats:
        """Probability of each class, (n, classes)."""
        return np.exp(self.log_probabilities)

    @cached_property
    def classes(self) -> Integers:
        """Index of the most probable class, (n,); the first of equals."""
        most: Integers = self.log_probabilities.argmax(axis=1)
        return most

    @cached_property
    def correct(self) -> Flags:
        """Whether the most probable class is the true one, (n,)."""
        return np.equal(self.classes, self.labels)

    @cached_property
    def losses(self) -> Floats:
        """-ln of the true class's probability, (n,), in nats."""
        return -self._of(self.log_probabilities, self.labels)

    @cached_property
    def margins(self) -> Floats:
        """The true class's probability less the largest other one, (n,), in [-1, 1]."""
        others = self.probabilities.copy()
        np.put_along_axis(others, self.labels[:, None], -np.inf, axis=1)
        margins: Floats = self._of(self.probabilities, self.labels) - others.max(axis=1)
        return margins

    @cached_property
    def entropies(self) -> Floats:
        """-sum p ln p over the classes, (n,), in nats; a class of probability 0 adds nothing."""
        sums: Floats = entr(self.probabilities).sum(axis=1)
        return sums

    def table(self, model_id: str) -> pa.Table:
        """Rows of `schema.PREDICTIONS`."""
        schema = PREDICTIONS.schema
        columns = {name: pa.array(values, schema.field(name).type) for name, values in self._columns().items()}
        columns["model_id"] = pa.array([model_id] * len(self.labels), pa.string())
        columns["text"] = pa.nulls(len(self.labels), pa.string())
        return pa.table({name: columns[name] for name in schema.names}, schema=schema)

    def _columns(self) -> dict[str, Any]:
        return {
            "instance": self.instances,
            "label": self.labels,
            "prediction": self.classes,
            "correct": self.correct,
            "confidence": self._of(self.probabilities, self.classes),
            "true_probability": self._of(self.probabilities, self.labels),
            "loss": self.losses,
            "margin": self.margins,
            "entropy": self.entropies,
            "probabilities": list(self.probabilities),
        }

    @staticmethod
    def _of(values: Floats, classes: Integers) -> Floats:
        return np.take_along_axis(values, classes[:, None], axis=1)[:, 0]


def predict(task: Task, model: nn.Module, data: Data) -> Predictions:
    """Ask a model about every instance, in batches; probabilities are computed in double precision.

    Args:
        task: Knows how class scores come from the model.
        model: In evaluation mode, on the CPU.
        data: The instances.
    """
    with torch.no_grad():
        scores = torch.cat([task.logits(model, inputs) for inputs in torch.split(data.inputs, BATCH_SIZE)])
        log_probabilities = scores.double().log_softmax(dim=1)
    return Predictions(data.instances.numpy(), data.labels.numpy(), log_probabilities.numpy())
