"""Class scores: the most probable of some classes is the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy.special import entr
from torch import Tensor, nn

from cc_ray.divergence import Reference, probability_matrix
from cc_ray.evaluate.answers.base import Answers, Flags, Floats, Integers, answers, on_cpu
from cc_ray.schema import FLOATS, HALVES
from cc_ray.tasks import Data, Task

NARROW_ABOVE: Final = 128
"""With more classes than this, probabilities are stored in half precision."""


@answers("classes")
@dataclass(frozen=True)
class Classes(Answers):
    """Class scores. A task of this kind has `class_names`, labels (n,) and `logits` (n, classes)."""

    compared_by: ClassVar[tuple[str, ...]] = ("probabilities",)

    labels: Integers
    """Index of the true class, (n,)."""
    scores: NDArray[Any]
    """Class scores, (n, classes): natural logarithms of probabilities, up to a constant of each instance."""

    @classmethod
    def ask(cls, task: Task, model: nn.Module, batch: Data, others: Mapping[str, nn.Module]) -> Self:
        """Ask for the class scores."""
        return cls(batch.instances.numpy(), batch.labels.numpy(), on_cpu(task.logits(model, batch.inputs)))

    @property
    def outputs(self) -> Tensor:
        """The class scores."""
        return torch.from_numpy(self.scores)

    @cached_property
    def log_probabilities(self) -> Floats:
        """Natural logarithm of each class's probability, (n, classes), in double precision."""
        found: Floats = torch.from_numpy(self.scores).double().log_softmax(dim=1).numpy()
        return found

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

    def columns(self) -> dict[str, Any]:
        """The label, the prediction and what its probabilities say."""
        return {
            "label": self.labels,
            "prediction": self.classes,
            "correct": self.correct,
            "confidence": self._of(self.probabilities, self.classes),
            "true_probability": self._of(self.probabilities, self.labels),
            "loss": self.losses,
            "margin": self.margins,
            "entropy": self.entropies,
            "probabilities": self._probability_lists(),
        }

    @classmethod
    def compared(cls, rows: pa.Table, *, base: pa.Table | None, parent: pa.Table | None) -> pa.Table:
        """Add `kl_from_base`, `kl_from_parent` (nats), `mse_from_base` and `mse_from_parent`.

        They are null where the other model has no answer to the instance, or another number of classes.
        """
        from_base = _divergences(rows, base)
        from_parent = from_base if parent is base else _divergences(rows, parent)
        for name, (kl, mse) in (("base", from_base), ("parent", from_parent)):
            for measure, values in (("kl", kl), ("mse", mse)):
                nulls = pa.nulls(len(rows), pa.float32())
                column = nulls if values is None else pa.array(values, pa.float32(), from_pandas=True)
                rows = rows.append_column(f"{measure}_from_{name}", column)
        return rows

    def _probability_lists(self) -> pa.ListArray:
        count, classes = self.probabilities.shape
        narrow = classes > NARROW_ABOVE
        values = self.probabilities.astype(np.float16 if narrow else np.float32).ravel()
        ends = pa.array(np.arange(count + 1, dtype=np.int32) * classes)
        return pa.ListArray.from_arrays(ends, pa.array(values), type=HALVES if narrow else FLOATS)

    @staticmethod
    def _of(values: Floats, classes: Integers) -> Floats:
        return np.take_along_axis(values, classes[:, None], axis=1)[:, 0]


def _divergences(
    rows: pa.Table, other: pa.Table | None
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]:
    if other is None:
        return None, None
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
