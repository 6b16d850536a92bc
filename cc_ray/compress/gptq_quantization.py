"""Round weights column by column, each error made up for by the columns that are still to be rounded (GPTQ).

What a layer puts out on the calibration instances is kept close, rather than its weights. Layers are rounded in the
model's order, each for what the rounded layers before it feed it with: the instances run through the model once a
layer.

Source: Frantar, Ashkboos, Hoefler and Alistarh, 2023, "GPTQ: Accurate Post-Training Quantization for Generative
Pre-trained Transformers", https://arxiv.org/abs/2210.17323
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, operation
from cc_ray.compress.inputs import has_inputs, input_moments, inverse_factor, like_weight, weight_matrix
from cc_ray.compress.rounding import Grid, Rounding
from cc_ray.compress.targets import Target, listed
from cc_ray.errors import NotApplicableError
from cc_ray.store.grid import run_length
from cc_ray.tasks import Split


@operation("gptq_quantization")
class GptqQuantization(Rounding):
    """Rounds to the nearest of 2^bits evenly spaced values after earlier errors were made up for; zeros stay zero."""

    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"bits": 4, "instances": 16},
        {"bits": 3, "granularity": "group", "group_size": 8, "ordered": True, "instances": 16},
    )

    ordered: bool = False
    """Whether columns with the largest inputs come first, on grids of the weights as they were; else columns come in
    their order, and a group's grid is that of its weights when its first column is reached."""
    damping: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    """What is added to each input's second moment, as a share of their mean."""
    instances: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """How many calibration instances at most are looked at."""

    def targets(self, model: nn.Module, context: Context | None = None) -> list[Target]:
        """The targets whose inputs can be told.

        Raises:
            NotApplicableError: If there are none.
        """
        chosen = super().targets(model, context)
        known = [target for target in chosen if has_inputs(target)]
        if not known:
            raise NotApplicableError(
                self.name,
                f"none of {listed(target.name for target in chosen)} is the weight of a linear layer or of a "
                "convolution of one or two axes; use uniform_quantization for others.",
            )
        return known

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Round target after target."""
        for target in self.targets(model, context):
            moments = input_moments(model, [target], context, self.instances)
            if target.path in moments:
                self._round(target, moments[target.path])
            else:
                self.round(target)  # the layer is never called
        return model

    def _round(self, target: Target, moments: Tensor) -> None:
        matrix = weight_matrix(target).detach().float().clone()
        run = self._run(target, matrix.shape[2])
        order = torch.arange(matrix.shape[2])
        if self.ordered:
            order = moments.diagonal(dim1=1, dim2=2).mean(0).argsort(descending=True, stable=True)
        grids = {
            group: self._fitted(target, part) for group, part in enumerate(torch.split(matrix, run, 2)) if self.ordered
        }
        factor = inverse_factor(moments[:, order][:, :, order], self.damping)
        ordered = matrix[:, :, order]
        zeros = ordered == 0
        for column, place in enumerate(order.tolist()):
            group = place // run
            if group not in grids:
                grids[group] = self._fitted(target, ordered[:, :, column : column + run])
            now = ordered[:, :, column : column + 1]
            rounded = grids[group].rounded(now).masked_fill_(zeros[:, :, column : column + 1], 0.0)
            error = (now - rounded) / factor[:, column, column, None, None]
            ordered[:, :, column + 1 :] -= error @ factor[:, column : column + 1, column + 1 :]
            ordered[:, :, column : column + 1] = rounded
        matrix[:, :, order] = ordered
        scales = torch.cat([grids[group].scale for group in sorted(grids)], dim=2)
        self.put(target, like_weight(target, matrix), self._as_scale(target, scales.flatten(0, 1)))

    def _run(self, target: Target, columns: int) -> int:
        """Columns of a group."""
        kernel = target.tensor.shape[2:].numel()
        groups = self.counts(target)[1 - target.channel_axis] if self.granularity == "group" else 1
        return run_length(columns // kernel, groups) * kernel

    def _fitted(self, target: Target, weights: Tensor) -> Grid:
        """The grids of a group's columns, (groups, rows, 1)."""
        low, high = weights.amin(2, keepdim=True), weights.amax(2, keepdim=True)
        if self.granularity == "tensor":
            low, high = low.amin().expand_as(low), high.amax().expand_as(high)
        grid = Grid.between(low, high, self.bits, symmetric=self.symmetric, narrow=self.granularity == "group")
        return replace(grid, scale=grid.scale.to(target.tensor.dtype).float())

    def _as_scale(self, target: Target, scales: Tensor) -> Tensor:
        """Scales of (rows, groups of columns) as blocks of the weight."""
        if self.granularity == "tensor":
            scales = scales[:1]
        if target.channel_axis:
            return scales.T.contiguous()
        return scales.view(*scales.shape, *[1] * (target.tensor.dim() - 2))
