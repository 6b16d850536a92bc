"""Set the weights to zero whose magnitude times the norm of their input is smallest.

Each output of a layer loses the same share. All layers are judged in the model as it comes, in one pass over the
calibration instances and without gradients.

Source: Sun, Liu, Bair and Kolter, 2024, "A Simple and Effective Pruning Approach for Large Language Models",
https://arxiv.org/abs/2306.11695
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, operation
from cc_ray.compress.inputs import has_inputs, like_weight, squared_inputs, unreached, weight_matrix
from cc_ray.compress.pruning import ScoredPruning
from cc_ray.compress.targets import Target
from cc_ray.tasks import Split


@operation("wanda_pruning")
class WandaPruning(ScoredPruning):
    """Keeps the weights that add most to the outputs of their layer."""

    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"sparsity": 0.5, "instances": 32},
        {"sparsity": 0.5, "semi_structured": "2:4", "instances": 32},
    )

    scope: Literal["global", "layer", "row"] = "row"
    """Whether each output of a layer reaches its share alone (`row`, what the source found best for language models),
    each tensor does (`layer`, for image classifiers), or all targets compete (`global`: inputs of different scale make
    that a poor choice)."""
    instances: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """Calibration instances whose inputs are weighed, at most."""

    def unfit(self, target: Target) -> str:
        """Also what is no linear layer and no convolution of one or two axes."""
        return super().unfit(target) if has_inputs(target) else "is of a kind whose inputs are not weighed"

    def scores(self, model: nn.Module, targets: list[Target], context: Context) -> Iterator[Tensor]:
        """Magnitude times the root mean square of the input."""
        squares = squared_inputs(model, targets, context, self.instances)
        context.findings.extend(unreached(targets, squares))
        for target in targets:
            weight = weight_matrix(target).abs().float()
            norms = squares.get(target.path, torch.ones(weight.shape[0], weight.shape[2])).sqrt()
            yield like_weight(target, weight * norms[:, None])
