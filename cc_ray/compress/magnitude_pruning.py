"""Set the weights of smallest magnitude to zero.

Source: Han, Pool, Tran and Dally, 2015, "Learning both Weights and Connections for Efficient Neural Networks",
https://arxiv.org/abs/1506.02626
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from cc_ray.compress.base import operation
from cc_ray.compress.pruning import Pruning
from cc_ray.compress.targets import Target


@operation("magnitude_pruning")
class MagnitudePruning(Pruning):
    """Keeps the weights of largest magnitude."""

    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"sparsity": 0.5}, {"sparsity": 0.7, "scope": "layer"})

    def scores(self, target: Target, generator: torch.Generator) -> Tensor:
        """The magnitude of each weight."""
        return target.tensor.abs().float()
