"""Train the model further with weights rounded to k bits in every pass, then keep them rounded.

Gradients pass the rounding as if it were not there (straight-through estimator). The grids follow the weights; biases
and norms train along.

Source: Jacob et al., 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", https://arxiv.org/abs/1712.05877; the estimator by Bengio, Léonard and Courville, 2013,
https://arxiv.org/abs/1308.3432
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cc_ray.compress.base import Context, operation
from cc_ray.compress.rounding import Rounding, grid_of
from cc_ray.tasks import Split
from cc_ray.tasks.training import train


@operation("quantization_aware_fine_tuning")
class QuantizationAwareFineTuning(Rounding):
    """Continues training for weights that will be rounded; zeros stay zero."""

    reads: ClassVar[tuple[Split, ...]] = ("train",)
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"bits": 4, "epochs": 1, "learning_rate": 0.01},)

    epochs: Annotated[int, Field(ge=1, le=10_000)]
    """Passes over the train split."""
    learning_rate: Annotated[float, Field(gt=0.0, le=10.0)] = 1e-3
    """The highest learning rate of the schedule."""
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64
    """Instances a training step."""

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Train through the rounding, then leave the scales beside the rounded weights."""
        targets = self.targets(model, context)
        for target in targets:
            rounding = Rounded(self, self.counts(target))
            parametrize.register_parametrization(target.module, target.attribute, rounding, unsafe=True)
        train(
            model,
            context.task.data("train"),
            context.task.loss,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            seed=context.seed,
            keep_zeros=True,
            after_epoch=context.after_epoch,
        )
        for target in targets:
            parametrize.remove_parametrizations(target.module, target.attribute, leave_parametrized=False)
            self.round(target)
        return model


class Rounded(nn.Module):
    """Rounds a weight to its own grids; its gradient is that of what it gives."""

    reads: ClassVar[tuple[Split, ...]] = ("train",)

    def __init__(self, made: Rounding, counts: tuple[int, ...]) -> None:
        super().__init__()
        self._made = made
        self._counts = counts

    def forward(self, weight: Tensor) -> Tensor:
        """The rounded weight."""
        fixed = weight.detach()
        grid = grid_of(fixed, self._counts, self._made.bits, symmetric=self._made.symmetric)
        return weight + (grid.rounded(fixed) - fixed)
