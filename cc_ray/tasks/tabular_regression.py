"""Rows of tables, each with a number: modules of the user's on numbers and categories of Parquet or CSV."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import canonical_json
from cc_ray.tasks.base import task
from cc_ray.tasks.sources import Rows
from cc_ray.tasks.sources.encoding import Number
from cc_ray.tasks.tables import Held, Tabular, write_example


@task("tabular_regression")
class TabularRegression(Tabular):
    """Which number a row of a table has.

    A base model's function is given `inputs`, the number of its inputs, and `outputs`, which is 1, besides its own
    arguments; with `categories="indices"` also `categories`, the number of indices of each of the last inputs. Models
    put out the number less its mean in units of its standard deviation, both of the train split: they need not learn
    its unit.
    """

    answers: ClassVar[str] = "numbers"
    class_names: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[int] = 1

    @classmethod
    def example(cls, folder: Path) -> Self:
        """Distances from a line that depends on the colour of points."""
        return cls(**write_example(folder), target="distance")

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Numbers in the unit of the target, (n,)."""
        scale = self._scale
        return super().logits(model, inputs)[:, 0] * scale.std + scale.mean

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Mean squared error in units of the target's variance, a differentiable scalar."""
        numbers = self.logits(model, inputs)
        return nn.functional.mse_loss(numbers, labels.to(numbers.dtype)) / self._scale.std**2

    @property
    def held(self) -> Held:
        """The data, read once by a process."""
        return _held(canonical_json(self.model_dump(mode="json")))

    @property
    def _scale(self) -> Number:
        return self.held.scale


@lru_cache(maxsize=2)
def _held(parameters: str) -> Held:
    task = TabularRegression.model_validate_json(parameters)
    rows, cut = task.read()
    numbers = _targets(rows, task.target)
    return Held(task, rows, cut, torch.from_numpy(numbers), {"target": pa.array(numbers)})


def _targets(rows: Rows, column: str) -> NDArray[np.float64]:
    values = rows.column(column)
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise InvalidRecipeError(f"column '{column}' is {values.type}: what is to be told must be numbers.")
    found: NDArray[np.float64] = values.cast(pa.float64()).to_numpy().copy()
    if missing := int((~np.isfinite(found)).sum()):
        raise InvalidRecipeError(f"column '{column}' lacks {missing} numbers: leave these rows out.")
    return found
