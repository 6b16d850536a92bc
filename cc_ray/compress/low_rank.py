"""Replace linear layers and convolutions by two thin ones that multiply to nearly the same weight.

The weight is cut to its largest singular values. Of a convolution the first layer keeps the kernel and a 1x1
convolution follows, or the kernel's height and width come apart. Layers that would not get smaller stay as they are.

Source: Zhang, Zou, He and Sun, 2016, "Accelerating Very Deep Convolutional Networks for Classification and Detection",
https://arxiv.org/abs/1505.06798; height and width apart by Jaderberg, Vedaldi and Zisserman, 2014, "Speeding up
Convolutional Neural Networks with Low Rank Expansions", https://arxiv.org/abs/1405.3866; errors weighed by inputs as in
Wang, Zheng, Wan and Zhang, 2025, "SVD-LLM: Truncation-aware Singular Value Decomposition for Large Language Model
Compression", https://arxiv.org/abs/2403.07378
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor, nn

from cc_ray.compress.base import Context, Family, Finding, operation
from cc_ray.compress.inputs import input_moments, weight_matrix
from cc_ray.compress.running import check_runs
from cc_ray.compress.targets import Target, Targeted, listed
from cc_ray.errors import NotApplicableError
from cc_ray.store.structure import Factors, change, fit, is_transposed_linear
from cc_ray.tasks import Split

_KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Their subclasses are read past their forward."""


@operation("low_rank")
class LowRank(Targeted):
    """Factors the weight of every targeted layer by a truncated singular value decomposition."""

    family: ClassVar[Family | None] = "low rank"
    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    reshapes: ClassVar[bool] = True
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"amount": 0.6},
        {"by": "energy", "amount": 0.8, "weighed_by": "inputs", "instances": 32},
        {"by": "rank", "amount": 2, "kernels": "separated"},
    )

    by: Literal["parameters", "energy", "rank"] = "parameters"
    """What `amount` means: the share of the layer's parameters that may be left; the share of the squared singular
    values that must be left; or the rank itself."""
    amount: Annotated[float, Field(gt=0.0, le=65_536.0)]
    """A share in (0, 1), or a whole rank from 1 on."""
    weighed_by: Literal["nothing", "inputs"] = "nothing"
    """With `inputs` the error of the layer's outputs over calibration instances is made small, not of its weight."""
    kernels: Literal["whole", "separated"] = "whole"
    """Of convolutions: `whole` keeps the kernel in the first layer, `separated` takes its height and width apart."""
    instances: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Calibration instances at most, where inputs weigh."""

    @field_validator("amount")
    @classmethod
    def _fits(cls, amount: float, told: ValidationInfo) -> float:
        if told.data.get("by") == "rank" and not amount.is_integer():
            raise ValueError("a rank is a whole number")
        if told.data.get("by") != "rank" and amount >= 1:
            raise ValueError("a share is smaller than 1")
        return amount

    def targets(self, model: nn.Module, context: Context | None = None) -> list[Target]:
        """The targeted layers that two others can stand for.

        Raises:
            NotApplicableError: If there are none.
        """
        chosen = super().targets(model, context)
        uses = Counter(id(held) for module in model.modules() for held in module._parameters.values())
        able = [target for target in chosen if _is_able(target, self.kernels) and uses[id(target.tensor)] == 1]
        if not able:
            raise NotApplicableError(
                self.name,
                f"none of {listed(target.name for target in chosen)} is the weight of a linear layer or of a "
                "convolution with one group that no other layer shares.",
            )
        return able

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Factor layer after layer, those that get smaller by it."""
        targets = self.targets(model, context)
        moments = (
            input_moments(model, targets, context, self.instances)
            if self.weighed_by == "inputs"
            else dict[str, Tensor]()
        )
        factored = [self._factored(model, target, moments.get(target.path)) for target in targets]
        context.findings.extend(finding for finding in factored if finding)
        left = [target.path for target, finding in zip(targets, factored, strict=True) if not finding]
        if left:
            context.findings.append(_left(left, len(targets)))
        check_runs(self.name, model, context, "it computes with the weight of a replaced layer; exclude that layer")
        return model

    def _factored(self, model: nn.Module, target: Target, moments: Tensor | None) -> Finding | None:
        """Replace one layer; None where that would not make it smaller."""
        matrix = _matrix(target, self.kernels)
        root = None if moments is None else _root(_columns(moments[0], target, self.kernels))
        left, values, right = torch.linalg.svd(matrix if root is None else matrix @ root, full_matrices=False)
        rank = self._rank(values, matrix)
        if rank * sum(matrix.shape) >= matrix.numel():
            return None
        inward = (
            right[:rank] if root is None else torch.linalg.solve_triangular(root, right[:rank], upper=False, left=False)
        )
        split = values[:rank].sqrt()
        _replace(model, target, left[:, :rank] * split, split[:, None] * inward, self.kernels)
        energy = float(values[:rank].square().sum() / values.square().sum())
        share = rank * sum(matrix.shape) / matrix.numel()
        return Finding(
            "rank_chosen",
            "info",
            f"'{target.path}' has rank {rank} of {len(values)} now: {share:.0%} of its parameters, {energy:.2%} of the "
            f"energy{'' if root is None else ' of its outputs'}.",
            layer=target.path,
            expected=float(len(values)),
            found=float(rank),
        )

    def _rank(self, values: Tensor, matrix: Tensor) -> int:
        if self.by == "rank":
            return min(int(self.amount), len(values))
        if self.by == "parameters":
            return max(1, int(self.amount * matrix.numel() / sum(matrix.shape)))
        energy = values.square().cumsum(0)
        return min(1 + int((energy < self.amount * energy[-1]).sum()), len(values))


def _is_able(target: Target, kernels: str) -> bool:
    module = target.module
    if target.attribute != "weight" or not (type(module) in _KINDS or is_transposed_linear(module)):
        return False
    if kernels == "separated" and isinstance(module, nn.Conv2d) and isinstance(module.padding, str):
        return False
    return getattr(module, "groups", 1) == 1


def _is_separable(target: Target, kernels: str) -> bool:
    return kernels == "separated" and isinstance(target.module, nn.Conv2d)


def _matrix(target: Target, kernels: str) -> Tensor:
    """What is factored: rows belong to the second layer, columns to the first; in double precision."""
    weight = target.tensor.detach().double()
    if _is_separable(target, kernels):
        return weight.permute(0, 3, 1, 2).flatten(2).flatten(0, 1)
    return weight_matrix(target)[0].detach().double()


def _columns(moments: Tensor, target: Target, kernels: str) -> Tensor:
    """Moments of what the first layer's columns meet; those of all places along the kernel's width are averaged."""
    if not _is_separable(target, kernels):
        return moments.double()
    _, inward, height, width = target.tensor.shape
    places = moments.double().view(inward, height, width, inward, height, width)
    return places.diagonal(dim1=2, dim2=5).mean(-1).reshape(inward * height, inward * height)


def _root(moments: Tensor) -> Tensor:
    """A lower triangular L with L L^T = moments, made positive definite where inputs never vary."""
    damping = 1e-6 * float(moments.diagonal().mean()) or 1e-6
    root: Tensor = torch.linalg.cholesky(moments + damping * torch.eye(len(moments), dtype=moments.dtype))
    return root


def _replace(model: nn.Module, target: Target, outward: Tensor, inward: Tensor, kernels: str) -> None:
    module, shape = target.module, target.tensor.shape
    rank, kind = len(inward), target.tensor.dtype
    made = change(model, "separated" if _is_separable(target, kernels) else "factored", target.path)
    assert isinstance(made, Factors)
    if _is_separable(target, kernels):
        weights = (
            inward.view(rank, shape[1], shape[2], 1),
            outward.view(shape[0], shape[3], rank).transpose(1, 2)[:, :, None],
        )
    elif isinstance(module, nn.Conv1d | nn.Conv2d):
        ones = [1] * (target.tensor.dim() - 2)
        weights = (inward.view(rank, *shape[1:]), outward.view(shape[0], rank, *ones))
    else:
        weights = (inward, outward)
    for layer, weight in zip(made, weights, strict=True):
        layer.weight = nn.Parameter(weight.to(kind).contiguous(), target.tensor.requires_grad)
        fit(layer)
    if module.bias is not None:
        made[1].bias = module.bias


def _left(paths: Sequence[str], count: int) -> Finding:
    return Finding(
        "layers_skipped",
        "warning" if len(paths) == count else "info",
        f"{len(paths)} of {count} layers stay as they are, since two layers of that rank would not be smaller: "
        f"{listed(paths)}.",
        layer=paths[0] if len(paths) == 1 else "",
        expected=float(count),
        found=float(count - len(paths)),
    )
