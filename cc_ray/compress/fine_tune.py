"""Train the model further on the train split; weights that are zero stay zero.

Source: Han, Pool, Tran and Dally, 2015, "Learning both Weights and Connections for Efficient Neural Networks",
https://arxiv.org/abs/1506.02626 (pruned networks recover by training what is left)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import nn

from cc_ray.compress.base import Context, Operation, operation
from cc_ray.tasks.training import train


@operation("fine_tune")
class FineTune(Operation):
    """Continues training; pruning survives it."""

    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"epochs": 1, "learning_rate": 0.01},)

    epochs: Annotated[int, Field(ge=1, le=10_000)]
    """Passes over the train split."""
    learning_rate: Annotated[float, Field(gt=0.0, le=10.0)] = 1e-3
    """The highest learning rate of the schedule."""
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64
    """Instances a training step."""

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Train all parameters, with masks on the zeros."""
        return train(
            model,
            context.task.data("train"),
            context.task.logits,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            seed=context.seed,
            keep_zeros=True,
            after_epoch=context.after_epoch,
        )
