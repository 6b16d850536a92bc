"""What unstructured pruning operations share: fields, which weights they reach, choice of the lowest scores.

A pruned model is as large in memory and as slow as before, since its arithmetic is dense: what is realised is the size
of the saved file, in which zeros take one bit.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, Final, Literal

import torch
from pydantic import Field, StringConstraints, ValidationInfo, field_validator
from torch import Tensor, nn

from cc_ray.compress.base import Context, Family, Finding, Representation, Share
from cc_ray.compress.masks import lowest, lowest_of_blocks, lowest_of_rows
from cc_ray.compress.targets import Pattern, Target, Targeted, is_norm, listed, named_by
from cc_ray.errors import NotApplicableError

Blocks = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*:[1-9][0-9]*$")]
"""`n:m` with n < m: of m neighbouring weights n stay."""
TOLERANCE: Final = 0.01
"""How far the sparsity that is said beside n:m may be from what it comes to, for the sake of 1/3."""


class Pruning(Targeted):
    """Sets a share of the targeted weights to zero."""

    family: ClassVar[Family | None] = "pruning"
    confined: ClassVar[bool] = True
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated"})
    realised_on: ClassVar[frozenset[str]] = frozenset()

    sparsity: Share
    """Share of the targeted weights that are zero afterwards, those that were zero before included."""
    levels: dict[Pattern, Share] = Field(default_factory=dict)
    """Other shares for some targets, by the patterns that `include` takes. A layer's own path goes before patterns, and
    a longer pattern before a shorter one; what none names keeps to `sparsity`."""
    semi_structured: Blocks | None = None
    """`n:m`, such as `2:4`: of m weights on neighbouring inputs (of a convolution: channels, at each place of its
    kernel) at most n stay. `sparsity` has to say the same, and layers whose inputs m does not divide stay as they
    are."""

    @field_validator("semi_structured")
    @classmethod
    def _agrees(cls, blocks: str | None, info: ValidationInfo) -> str | None:
        if blocks is None or "sparsity" not in info.data:
            return blocks
        kept, of = map(int, blocks.split(":"))
        if kept >= of:
            raise ValueError(f"of {of} weights fewer than {of} may stay, as in '{max(1, of // 2)}:{max(2, of)}'")
        if abs(info.data["sparsity"] - (1 - kept / of)) > TOLERANCE:
            raise ValueError(f"{blocks} makes a share of {1 - kept / of:.4g} zero: give sparsity={1 - kept / of:.4g}")
        if info.data.get("levels"):
            raise ValueError("with n:m every layer has the same share: leave levels out")
        return blocks

    def targets(self, model: nn.Module, context: Context | None = None) -> list[Target]:
        """The tensors to work on, without those that `unfit` finds a reason against; it is told of them."""
        found = super().targets(model, context)
        reasons = {target.name: reason for target in found if (reason := self.unfit(target))}
        if len(reasons) == len(found):
            name, reason = next(iter(reasons.items()))
            raise NotApplicableError(self.name, f"'{name}' {reason}, and there is no other layer that it could take.")
        fit = [target for target in found if target.name not in reasons]
        if context is not None:
            context.findings.extend(_left_out(reasons))
            context.findings.extend(_unused(pattern) for pattern in self.levels if not _reaches(pattern, fit))
        return fit

    @property
    def kept_of(self) -> tuple[int, int] | None:
        """The n and m of `semi_structured`: of m neighbouring weights n stay."""
        if self.semi_structured is None:
            return None
        kept, of = self.semi_structured.split(":")
        return int(kept), int(of)

    def unfit(self, target: Target) -> str:
        """Why a tensor cannot be pruned this way, as the rest of a sentence that begins with its name; empty if it can.

        Looks at kind and shape alone.
        """
        if self.kept_of is None:
            return ""
        inputs, of = _inputs(target), self.kept_of[1]
        return f"has a number of inputs ({inputs}) that {of} does not divide" if inputs % of or not inputs else ""

    def share_of(self, target: Target) -> float:
        """Share of a target's weights that go; with a scope of several targets, of all that share its level."""
        if self.kept_of:
            kept, of = self.kept_of
            return 1 - kept / of
        level = self.level_of(target)
        return self.sparsity if level is None else self.levels[level]

    def level_of(self, target: Target) -> str | None:
        """The pattern among `levels` that says how much of a target goes; None if no one does."""
        patterns = [pattern for pattern in self.levels if named_by(pattern, target)]
        exact = (target.path, target.name)
        return max(patterns, key=lambda pattern: (pattern in exact, len(pattern), pattern), default=None)

    def check(self, parent: nn.Module, child: nn.Module) -> Iterator[Finding]:
        """Warn of pruned norms."""
        pairs = zip(self.targets(parent), self.targets(child), strict=True)
        norms = [a.name for a, b in pairs if is_norm(a.module) and not torch.equal(a.tensor, b.tensor)]
        if norms:
            yield Finding(
                "norm_pruned",
                "warning",
                f"normalisation weights were pruned ({listed(norms)}): they are few, and models seldom survive it; "
                "leave them out of include.",
                layer=norms[0].rpartition(".")[0] if len(norms) == 1 else "",
            )


class ScoredPruning(Pruning):
    """Sets the targeted weights with the lowest scores to zero."""

    scope: Literal["global", "layer", "row"] = "global"
    """Whether the weights of all targets compete (`global`; of those that share a level), each tensor reaches its share
    alone (`layer`), or each output of a layer does (`row`)."""

    @abstractmethod
    def scores(self, model: nn.Module, targets: list[Target], context: Context) -> Iterable[Tensor]:
        """How much each weight matters, zero or more; the lowest go.

        Args:
            model: Left as it is. Targets may lose weights as soon as their scores are taken.
            targets: What is pruned.
            context: Data and seed.

        Returns:
            For each target a tensor of its shape, the caller's own, in order.
        """

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Zero the lowest scores; weights that are zero already go first."""
        targets = self.targets(model, context)
        together: dict[str | None, list[tuple[Target, Tensor]]] = {}
        with torch.no_grad():
            for target, scores in zip(targets, self.scores(model, targets, context), strict=True):
                scores.masked_fill_(target.tensor == 0, -1.0)
                if self.scope == "global" and not self.kept_of:
                    together.setdefault(self.level_of(target), []).append((target, scores))
                else:
                    target.tensor.masked_fill_(self._mask(target, scores), 0.0)
            for pool in together.values():
                masks = lowest([scores for _, scores in pool], self.share_of(pool[0][0]))
                for (target, _), mask in zip(pool, masks, strict=True):
                    target.tensor.masked_fill_(mask, 0.0)
        return model

    def _mask(self, target: Target, scores: Tensor) -> Tensor:
        """What goes of a target that competes with no other."""
        if self.kept_of:
            return _as_tensor(target, lowest_of_blocks(_as_rows(target, scores), *self.kept_of))
        if self.scope == "row":
            return _as_tensor(target, lowest_of_rows(_as_rows(target, scores), self.share_of(target)))
        return lowest([scores], self.share_of(target))[0]


def _inputs(target: Target) -> int:
    """How many inputs, or channels of them, an output of a layer sees; 0 of a tensor that has one axis."""
    shape = list(target.tensor.shape)
    return 0 if len(shape) < 2 else shape[1 - target.channel_axis]


def _as_rows(target: Target, tensor: Tensor) -> Tensor:
    """A tensor of a target's shape as (outputs, columns), in which neighbouring columns are neighbouring inputs."""
    return tensor[None] if tensor.dim() < 2 else _outputs_first(target, tensor).flatten(1)


def _as_tensor(target: Target, rows: Tensor) -> Tensor:
    """What `_as_rows` made, in the target's shape again."""
    if target.tensor.dim() < 2:
        return rows[0]
    return rows.view(_outputs_first(target, target.tensor).shape).movedim(-1, 1).movedim(0, target.channel_axis)


def _outputs_first(target: Target, tensor: Tensor) -> Tensor:
    return tensor.movedim(target.channel_axis, 0).movedim(1, -1)


def _reaches(pattern: str, targets: list[Target]) -> bool:
    return any(named_by(pattern, target) for target in targets)


def _left_out(reasons: dict[str, str]) -> Iterator[Finding]:
    if reasons:
        name, reason = next(iter(reasons.items()))
        yield Finding(
            "targets_left_out",
            "info",
            f"{len(reasons)} of the tensors that the patterns name cannot be pruned this way and stay as they are "
            f"({listed(reasons)}): '{name}' {reason}.",
            found=float(len(reasons)),
        )


def _unused(pattern: str) -> Finding:
    return Finding(
        "level_unused",
        "warning",
        f"the level of '{pattern}' names none of the targeted tensors; check its spelling, or include.",
    )
