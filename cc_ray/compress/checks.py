"""What is checked of every child model after its operation ran.

Each check compares parent and child and says in a sentence what it noticed; nothing is silently left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

import torch
from torch import Tensor, nn

from cc_ray.compress.base import Finding, Operation
from cc_ray.compress.pruning import Pruning
from cc_ray.compress.rounding import block_counts, spread
from cc_ray.compress.targets import Target, Targeted, layer_weights, listed
from cc_ray.store.artifacts import is_quantized, palette_of, scale_of

Check = Callable[[Operation, nn.Module, nn.Module], Iterator[Finding]]


def check(made: Operation, parent: nn.Module, child: nn.Module) -> list[Finding]:
    """Run all checks, the operation's own last."""
    findings = [finding for one in CHECKS for finding in one(made, parent, child)]
    return [*findings, *made.check(parent, child)]


def same_values(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two tensors stand for the same values, in the same shape and kind."""
    if is_quantized(ours) or is_quantized(theirs):
        return type(ours) is type(theirs) and torch.equal(ours.dequantize(), theirs.dequantize())
    return ours.shape == theirs.shape and bool(((ours == theirs) | (ours.isnan() & theirs.isnan())).all())


def _not_finite(made: Operation, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
    """NaN or infinity among the values."""
    for name, tensor in _plain_tensors(child):
        count = int((~tensor.isfinite()).sum()) if tensor.is_floating_point() else 0
        if count:
            yield Finding(
                "not_finite",
                "error",
                f"{count} of {tensor.numel()} values of '{name}' are NaN or infinite: the model is broken.",
                layer=name.rpartition(".")[0],
                expected=0.0,
                found=float(count),
            )


def _nothing_changed(made: Operation, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
    """A child that equals its parent."""
    if made.gives == "exported":
        return  # It is to be the same model, in another file.
    before, after = parent.state_dict(keep_vars=True), child.state_dict(keep_vars=True)
    if before.keys() == after.keys() and all(same_values(before[name], after[name]) for name in before):
        yield Finding(
            "nothing_changed",
            "warning",
            f"{made.name} changed nothing: every tensor equals the parent's. This step can be left out of the recipe.",
        )


def _sparsity(made: Operation, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
    """The claimed share of zeros in the targeted weights."""
    claimed = getattr(made, "sparsity", None)
    if not isinstance(claimed, float) or not isinstance(made, Targeted):
        return
    targets = made.targets(child)
    size = sum(target.tensor.numel() for target in targets)
    if isinstance(made, Pruning):
        claimed = sum(made.share_of(target) * target.tensor.numel() for target in targets) / size
    found = sum(_zeros(target.tensor) for target in targets) / size
    # The count is a whole number, in each tensor by itself where the scope is the layer.
    if abs(found - claimed) > len(targets) / size:
        yield Finding(
            "sparsity_differs",
            "warning",
            f"{made.name} was asked for sparsity {claimed:.4g}, but {found:.4g} of the targeted weights are zero"
            + (": the parent was sparser already." if found > claimed else ": fewer than asked for."),
            expected=claimed,
            found=found,
        )


def _bit_width(made: Operation, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
    """The claimed number of distinct values in each block that has a grid or palette of its own."""
    claimed = getattr(made, "bits", None)
    if not isinstance(claimed, int) or not isinstance(made, Targeted):
        return
    for target in made.targets(child):
        found = _most_levels(target)
        if found > 2**claimed:
            yield Finding(
                "bit_width_differs",
                "error",
                f"'{target.name}' takes {found} distinct values on one grid; {claimed} bits hold {2**claimed}.",
                layer=target.path,
                expected=float(2**claimed),
                found=float(found),
            )


def _unchanged_targets(made: Operation, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
    """Targets that an operation passed over while it changed others."""
    if not isinstance(made, Targeted):
        return
    before, after = made.targets(parent), child.state_dict(keep_vars=True)
    same = [target for target in before if target.name in after and same_values(target.tensor, after[target.name])]
    if same and len(same) < len(before):
        yield Finding(
            "targets_unchanged",
            "info",
            f"{len(same)} of {len(before)} targeted tensors are as they were: {listed(t.name for t in same)}.",
            layer=same[0].path if len(same) == 1 else "",
            expected=float(len(before)),
            found=float(len(before) - len(same)),
        )


def _untargeted(made: Operation, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
    """Weight matrices outside linear layers and convolutions, which no pattern named."""
    if not isinstance(made, Targeted) or made.include:
        return
    layers = {target.name for target in layer_weights(parent)}
    sizes = {name: tensor.numel() for name, tensor in parent.named_parameters() if tensor.dim() > 1}
    others = {name: size for name, size in sizes.items() if name not in layers}
    share = sum(others.values()) / max(1, sum(sizes.values()))
    if share > 0.1:
        yield Finding(
            "weights_untargeted",
            "info",
            f"{share:.0%} of the weights are in tensors other than linear layers and convolutions and were left as "
            f"they are: {listed(others)}. Name them in include to compress them.",
            found=share,
        )


def _dead_layers(made: Operation, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
    """Layers that the operation left without any weight but zero."""
    alive = {target.name for target in layer_weights(parent) if target.tensor.any()}
    dead = [target for target in layer_weights(child) if target.name in alive and not target.tensor.any()]
    for target in dead:
        yield Finding(
            "layer_dead",
            "warning",
            f"every weight of '{target.name}' is zero: the layer passes nothing on. Exclude it, prune less, or prune "
            "each layer by itself.",
            layer=target.path,
            expected=float(target.tensor.numel()),
            found=0.0,
        )


CHECKS: Final[tuple[Check, ...]] = (
    _not_finite, _nothing_changed, _sparsity, _bit_width, _unchanged_targets, _untargeted, _dead_layers,
)  # fmt: skip


def _plain_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a model; of torchao's the scales, since integers are always finite."""
    for name, tensor in model.state_dict(keep_vars=True).items():
        yield name, tensor.scale if is_quantized(tensor) else tensor.detach()


def _zeros(tensor: Tensor) -> int:
    return tensor.numel() - int(tensor.count_nonzero())


def _most_levels(target: Target) -> int:
    """The largest number of distinct values in one block of a tensor; without grids, in one output channel."""
    values = target.tensor.detach()
    if not values.numel():
        return 0
    counts = _grids(target)
    block = spread(torch.arange(math.prod(counts)).view(counts), values.shape).flatten()
    ordered, order = values.flatten().sort()
    block, again = block[order].sort(stable=True)
    ordered = ordered[again]
    first = torch.ones(len(block), dtype=torch.bool)
    first[1:] = (ordered.diff() != 0) | (block.diff() != 0)
    return int(block[first].bincount().max())


def _grids(target: Target) -> tuple[int, ...]:
    """How many grids or palettes a tensor has along each axis."""
    if (scale := scale_of(target.module, target.attribute)) is not None:
        return tuple(scale.shape)
    if (palette := palette_of(target.module, target.attribute)) is not None:
        return tuple(palette.shape[:-1])
    return block_counts(target, "channel")
