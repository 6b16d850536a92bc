"""Set weights chosen at random to zero: the baseline that other pruning has to beat.

Source: Gale, Elsen and Hooker, 2019, "The State of Sparsity in Deep Neural Networks", https://arxiv.org/abs/1902.09574
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from cc_ray.compress.base import Context, operation
from cc_ray.compress.pruning import ScoredPruning
from cc_ray.compress.targets import Target


@operation("random_pruning")
class RandomPruning(ScoredPruning):
    """Gives every weight the same chance to stay."""

    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"sparsity": 0.3}, {"sparsity": 0.5, "scope": "layer"})

    def scores(self, model: nn.Module, targets: list[Target], context: Context) -> Iterator[Tensor]:
        """A random number in [0, 1) for each weight."""
        generator = torch.Generator().manual_seed(context.seed)
        for target in targets:
            yield torch.rand(target.tensor.shape, generator=generator)
