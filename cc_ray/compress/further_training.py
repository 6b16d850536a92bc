"""What operations share that train a model further: their fields, and that zeros stay zero."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn

from cc_ray.compress.base import Context, Family, Operation, Share
from cc_ray.tasks import Split
from cc_ray.tasks.training import Loss, train


class FurtherTraining(Operation):
    """Trains on the train split; pruning survives it."""

    family: ClassVar[Family | None] = "recovery"
    reads: ClassVar[tuple[Split, ...]] = ("train",)
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    """Passes over the train split."""
    learning_rate: Annotated[float, Field(gt=0.0, le=10.0)] = 1e-3
    """The highest learning rate of the schedule."""
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64
    """Instances a training step."""
    warm_up: Share = 0.3
    """Share of the training steps in which the learning rate rises, in [0, 1); then it falls."""
    largest_gradient: Annotated[float, Field(gt=0.0)] | None = None
    """L2 norm over all gradients of a step, to which longer ones are shortened; None leaves them as they are."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What products are computed in while it trains, on a GPU and on a CPU; weights stay what they are."""

    def trained(self, model: nn.Module, context: Context, loss: Loss) -> nn.Module:
        """Train all parameters, with masks on the zeros.

        Args:
            model: Changed in place.
            context: Gives data and seed.
            loss: What is made small.
        """
        return train(
            model,
            context.task.data("train"),
            loss,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            seed=context.seed,
            keep_zeros=True,
            warm_up=self.warm_up,
            largest_gradient=self.largest_gradient,
            bfloat16=self.precision == "bfloat16",
            after_epoch=context.after_epoch,
        )
