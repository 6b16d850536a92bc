"""Set weights to zero and let those that stay make up for it, so that each layer's outputs change least.

Column after column of a layer's weight is pruned; the columns still to come take up the error that this makes in the
outputs, as the inverse of the inputs' second moments says. What goes is decided for a block of columns at a time, by
w^2 over the squared diagonal of that inverse's factor.

Source: Frantar and Alistarh, 2023, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
https://arxiv.org/abs/2301.00774
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Final

import torch
from pydantic import Field
from torch import Tensor, nn

from cc_ray.compress.base import Context, Representation, operation
from cc_ray.compress.inputs import (
    has_inputs,
    in_order_of_use,
    input_moments,
    inverse_factor,
    like_weight,
    unreached,
    weight_matrix,
)
from cc_ray.compress.masks import lowest_entries, lowest_of_blocks, share_between
from cc_ray.compress.pruning import Pruning
from cc_ray.compress.targets import Target
from cc_ray.tasks import Split, moved

MOST_COLUMNS: Final = 16_384
"""Columns of the widest layer that is worked on: its moments take a gigabyte, and the work on them eight."""


@operation("sparsegpt_pruning")
class SparseGPTPruning(Pruning):
    """Reconstructs each layer while its weights go; each layer reaches its share alone."""

    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float"})
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"sparsity": 0.5, "instances": 32},
        {"sparsity": 0.5, "semi_structured": "2:4", "instances": 32, "sequential": False},
    )

    instances: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """Calibration instances whose inputs are weighed, at most."""
    sequential: bool = True
    """Whether a layer is fed by layers that are pruned already, at the price of one pass over the calibration instances
    for each layer; else by the model as it came, in as few passes as memory allows."""
    damping: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    """What is added to the diagonal of the second moments, as a share of its mean."""
    block: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Columns among which it is decided at a time what goes; with n:m, rounded up to a multiple of m."""

    def unfit(self, target: Target) -> str:
        """Also what is no linear layer and no convolution of one or two axes, or is too wide."""
        if not has_inputs(target):
            return "is of a kind whose inputs are not weighed"
        columns = weight_matrix(target).shape[2]
        if columns > MOST_COLUMNS:
            return f"has {columns} columns, and the second moments of more than {MOST_COLUMNS} take too much memory"
        return super().unfit(target)

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Prune the layers in the order in which the model calls them."""
        targets = in_order_of_use(model, self.targets(model, context), context)
        done: list[tuple[Target, Tensor]] = []
        reached: set[str] = set()
        with torch.no_grad(), moved(model):
            for turn in self._turns(targets):
                moments = input_moments(model, turn, context, self.instances)
                reached |= moments.keys()
                done += [(target, self._pruned(target, moments.pop(target.path, None))) for target in turn]
                if self.sequential:
                    _write(done)
            _write(done)
        context.findings.extend(unreached(targets, reached))
        return model

    def _turns(self, targets: list[Target]) -> Iterator[list[Target]]:
        """Targets whose moments are taken in one pass: as many as are not more than those of the widest layer."""
        turn: list[Target] = []
        for target in targets:
            if turn and (self.sequential or sum(map(_size, turn)) + _size(target) > MOST_COLUMNS**2):
                yield turn
                turn = []
            turn.append(target)
        yield turn

    def _pruned(self, target: Target, moments: Tensor | None) -> Tensor:
        """The new weight matrix of a target, (groups, rows, columns)."""
        weight = weight_matrix(target).float()
        groups, _, columns = weight.shape
        if moments is None:
            moments = torch.eye(columns).expand(groups, -1, -1)
        # With n:m neighbouring inputs have to be neighbouring columns; a convolution's kernel lies between them.
        inputs = target.tensor.shape[1] if target.tensor.dim() > 2 else columns
        order = torch.arange(columns).view(inputs, -1).T.flatten()
        ordered = moments[:, order][:, :, order].to(weight.device)
        return self._reconstructed(weight[..., order], ordered, self.share_of(target))[..., order.argsort()]

    def _reconstructed(self, weight: Tensor, moments: Tensor, share: float) -> Tensor:
        """Prune a weight matrix in place, block after block of columns."""
        zero, dead = weight == 0, moments.diagonal(dim1=1, dim2=2) == 0
        factor = inverse_factor(moments, self.damping)
        groups, rows, columns = weight.shape
        width = self._width()
        for start in range(0, columns, width):
            now = slice(start, min(start + width, columns))
            count = share_between(share, groups * rows * now.start, groups * rows * now.stop)
            # Never-fed columns add nothing to the outputs, and go first after what is zero already.
            worth = torch.where(zero[..., now], -1.0, torch.where(dead[:, None, now], 0.0, 1.0))
            errors = self._prune_block(weight[..., now], factor[:, now, now], worth, count)
            weight[..., now.stop :] -= errors @ factor[:, now, now.stop :]
        return weight

    def _prune_block(self, part: Tensor, factor: Tensor, worth: Tensor, count: int) -> Tensor:
        """Prune a block of columns in place.

        Args:
            part: Weights, (groups, rows, width).
            factor: Of the inverse, for these columns, (groups, width, width).
            worth: -1 for weights that are zero and stay so, else what scores are multiplied by, in the shape of `part`.
            count: How many weights go, unless n:m says so.

        Returns:
            The error in each weight over the factor's diagonal, in the shape of `part`.
        """
        gone, errors, width = worth < 0, torch.zeros_like(part), part.shape[2]
        diagonal = factor.diagonal(dim1=1, dim2=2)[:, None]
        step = self.kept_of[1] if self.kept_of else width
        for column in range(width):
            if column % step == 0:
                now = slice(column, column + step)
                scores = (part[..., now] / diagonal[..., now]).square() * worth[..., now].clamp_min(0)
                scores.masked_fill_(worth[..., now] < 0, -1.0)
                gone[..., now] |= self._lowest(scores, count)
            lost = part[..., column].where(gone[..., column], 0.0) / diagonal[..., column]
            part[..., column:] -= lost[..., None] * factor[:, None, column, column:]
            part[..., column].masked_fill_(gone[..., column], 0.0)
            errors[..., column] = lost
        return errors

    def _lowest(self, scores: Tensor, count: int) -> Tensor:
        if self.kept_of:
            return lowest_of_blocks(scores, *self.kept_of)
        return lowest_entries(scores.flatten(), count).view(scores.shape)

    def _width(self) -> int:
        """Columns of a block: with n:m whole groups of m."""
        of = self.kept_of[1] if self.kept_of else 1
        return -(-self.block // of) * of


def _size(target: Target) -> int:
    """Values of a target's second moments."""
    groups, _, columns = weight_matrix(target).shape
    return groups * columns * columns


def _write(done: list[tuple[Target, Tensor]]) -> None:
    for target, matrix in done:
        target.tensor.copy_(like_weight(target, matrix))
    done.clear()
