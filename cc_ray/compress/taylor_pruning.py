"""Set the weights to zero without which the task's loss would change least, to first order.

The score is |w dL/dw|. With batches as large as `instances` the score is that of SNIP (Lee, Ajanthan and Torr, 2019).

Source: Molchanov, Mallya, Tyree, Frosio and Kautz, 2019, "Importance Estimation for Neural Network Pruning",
https://arxiv.org/abs/1906.10771
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, operation
from cc_ray.compress.gradients import loss_changes
from cc_ray.compress.pruning import ScoredPruning
from cc_ray.compress.targets import Target
from cc_ray.tasks import Split


@operation("taylor_pruning")
class TaylorPruning(ScoredPruning):
    """Keeps the weights that the task's loss depends on most."""

    reads: ClassVar[tuple[Split, ...]] = ("calibration", "train")
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"sparsity": 0.5}, {"sparsity": 0.6, "split": "train"})

    split: Literal["calibration", "train"] = "calibration"
    """Whose instances and labels give the gradients."""
    instances: Annotated[int, Field(ge=1, le=10_000_000)] = 512
    """How many of them, at most."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 16
    """Instances of one loss; scores are averaged over batches."""

    def scores(self, model: nn.Module, targets: list[Target], context: Context) -> Iterable[Tensor]:
        """The mean of |w dL/dw| over batches."""
        weights = [target.tensor for target in targets]
        return loss_changes(model, weights, context, self.split, self.instances, self.batch_size)
