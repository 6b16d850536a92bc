"""Train the model further on the train split; weights that are zero stay zero.

Source: Han, Pool, Tran and Dally, 2015, "Learning both Weights and Connections for Efficient Neural Networks",
https://arxiv.org/abs/1506.02626 (pruned networks recover by training what is left)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from cc_ray.compress.base import Context, operation
from cc_ray.compress.further_training import FurtherTraining


@operation("fine_tune")
class FineTune(FurtherTraining):
    """Continues training; pruning survives it."""

    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"epochs": 1, "learning_rate": 0.01},
        {"epochs": 1, "warm_up": 0.0, "largest_gradient": 1.0, "precision": "bfloat16"},
    )

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Train for the task's own loss."""
        return self.trained(model, context, context.task.loss)
