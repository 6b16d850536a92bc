"""Set the weights of smallest magnitude to zero.

Source: Han, Pool, Tran and Dally, 2015, "Learning both Weights and Connections for Efficient Neural Networks",
https://arxiv.org/abs/1506.02626
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from cc_ray.compress.base import Context, operation
from cc_ray.compress.pruning import ScoredPruning
from cc_ray.compress.targets import Target


@operation("magnitude_pruning")
class MagnitudePruning(ScoredPruning):
    """Keeps the weights of largest magnitude."""

    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"sparsity": 0.5},
        {"sparsity": 0.7, "scope": "layer"},
        {"sparsity": 0.5, "semi_structured": "2:4"},
    )

    def scores(self, model: nn.Module, targets: list[Target], context: Context) -> Iterator[Tensor]:
        """The magnitude of each weight."""
        for target in targets:
            yield target.tensor.abs().float()
