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
from torch import Tensor, nn

from cc_ray.divergence import Reference, probability_matrix
from cc_ray.schema import FLOATS, HALVES, PREDICTIONS
from cc_ray.tasks import Data, Task

BATCH_SIZE: Final = 256
NARROW_ABOVE: Final = 128
"""With more classes than this, probabilities are stored in half precision."""

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
        """Rows of `schema.PREDICTIONS`, without the columns that compare with other models; see `with_divergences`."""
        columns = {
            name: pa.array(values, PREDICTIONS.schema.field(name).type) for name, values in self._columns().items()
        }
        columns["model_id"] = pa.array([model_id] * len(self.labels), pa.string())
        columns["probabilities"] = self._probability_lists()
        return pa.table(columns)

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
        }

    def _probability_lists(self) -> pa.ListArray:
        count, classes = self.probabilities.shape
        narrow = classes > NARROW_ABOVE
        values = self.probabilities.astype(np.float16 if narrow else np.float32).ravel()
        ends = pa.array(np.arange(count + 1, dtype=np.int32) * classes)
        return pa.ListArray.from_arrays(ends, pa.array(values), type=HALVES if narrow else FLOATS)

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
    return from_scores(class_scores(task, model, data), data)


def class_scores(task: Task, model: nn.Module, data: Data) -> Tensor:
    """A model's unnormalised class scores of every instance, (n, classes); takes what `predict` takes."""
    with torch.no_grad():
        return torch.cat([task.logits(model, inputs) for inputs in torch.split(data.inputs, BATCH_SIZE)])


def from_scores(scores: Tensor, data: Data) -> Predictions:
    """Predictions of which the class scores, (n, classes), are known."""
    log_probabilities = scores.double().log_softmax(dim=1)
    return Predictions(data.instances.numpy(), data.labels.numpy(), log_probabilities.numpy())


def with_divergences(rows: pa.Table, *, base: pa.Table | None, parent: pa.Table | None) -> pa.Table:
    """Add how far each answer lies from the base model's and the parent's.

    Args:
        rows: A model's rows of `schema.PREDICTIONS`.
        base: The rows of its base model; None for a base model.
        parent: The rows of its parent; None for a base model.

    Returns:
        The rows with `kl_from_base`, `kl_from_parent` (nats), `mse_from_base` and `mse_from_parent`; null where the
        other model has no answer to the instance, or another number of classes.
    """
    for name, other in (("base", base), ("parent", parent)):
        kl, mse = _divergences(rows, other) if other is not None else (None, None)
        for measure, values in (("kl", kl), ("mse", mse)):
            nulls = pa.nulls(len(rows), pa.float32())
            column = nulls if values is None else pa.array(values, pa.float32(), from_pandas=True)
            rows = rows.append_column(f"{measure}_from_{name}", column)
    return rows


def _divergences(rows: pa.Table, other: pa.Table) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    mine, theirs = (probability_matrix(table["probabilities"]) for table in (rows, other))
    if mine is None or theirs is None or mine.shape[1] != theirs.shape[1]:
        return None, None
    wanted, there = rows["instance"].to_numpy(), other["instance"].to_numpy()
    order = np.argsort(there)
    place = order[np.clip(np.searchsorted(there, wanted, sorter=order), 0, len(there) - 1)]
    kl, mse = Reference(theirs[place].astype(mine.dtype, copy=False)).compared(mine)
    missing = there[place] != wanted
    kl[missing], mse[missing] = np.nan, np.nan
    return kl, mse
