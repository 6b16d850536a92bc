"""What unstructured pruning operations share: fields, choice of the lowest scores, exact counts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from cc_ray.compress.base import Context, Finding, Representation, Share
from cc_ray.compress.targets import NORMS, Target, Targeted, listed


class Pruning(Targeted):
    """Sets the targeted weights with the lowest scores to zero."""

    confined: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated"})

    sparsity: Share
    """Share of the targeted weights that are zero afterwards, those that were zero before included."""
    scope: Literal["global", "layer"] = "global"
    """Whether the weights of all targets compete (`global`) or each tensor reaches the sparsity alone (`layer`)."""

    @abstractmethod
    def scores(self, target: Target, generator: torch.Generator) -> Tensor:
        """How much each weight matters, zero or more, in the shape of the target; the lowest go."""

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Zero the lowest scores; weights that are zero already go first."""
        targets = self.targets(model, context)
        generator = torch.Generator().manual_seed(context.seed)
        with torch.no_grad():
            scores = [self.scores(target, generator).masked_fill_(target.tensor == 0, -1.0) for target in targets]
            pools = [[index] for index in range(len(targets))] if self.scope == "layer" else [range(len(targets))]
            for pool in pools:
                masks = lowest([scores[index] for index in pool], self.sparsity)
                for index, mask in zip(pool, masks, strict=True):
                    targets[index].tensor.masked_fill_(mask, 0.0)
        return model

    def check(self, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
        """Warn of pruned norms."""
        pairs = zip(self.targets(parent), self.targets(child), strict=True)
        norms = [a.name for a, b in pairs if isinstance(a.module, NORMS) and not torch.equal(a.tensor, b.tensor)]
        if norms:
            yield Finding(
                "norm_pruned",
                "warning",
                f"normalisation weights were pruned ({listed(norms)}): they are few, and models seldom survive it; "
                "leave them out of include.",
                layer=norms[0].rpartition(".")[0] if len(norms) == 1 else "",
            )


def lowest(scores: list[Tensor], share: float) -> list[Tensor]:
    """Choose exactly a share of all entries: the lowest, of equal ones the first.

    Args:
        scores: Tensors of any shapes.
        share: In [0, 1]; the count is rounded to the nearest whole number.

    Returns:
        A mask for each tensor, in its shape.
    """
    flat = torch.cat([score.flatten().float() for score in scores])
    mask = torch.zeros(len(flat), dtype=torch.bool)
    count = round(share * len(flat))
    if count:
        threshold = flat.kthvalue(count).values
        mask = flat < threshold
        ties = (flat == threshold).nonzero().flatten()
        mask[ties[: count - int(mask.sum())]] = True
    parts = torch.split(mask, [score.numel() for score in scores])
    return [part.view(score.shape) for part, score in zip(parts, scores, strict=True)]
