"""Prune in rounds, a little more each time, with training between them in which the zeros stay.

Each epoch of training is reported, so that early stopping sees rounds whose sparsity is still lower than what is asked
for: trials are compared fairly where they have the same rounds and epochs.

Source: Zhu and Gupta, 2017, "To Prune, or Not to Prune: Exploring the Efficacy of Pruning for Model Compression",
https://arxiv.org/abs/1710.01878
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator
from torch import nn

from cc_ray.compress.base import Context, Representation, operation, operations
from cc_ray.compress.pruning import Pruning, ScoredPruning
from cc_ray.compress.targets import Target
from cc_ray.tasks import Split
from cc_ray.tasks.training import train


@operation("iterative_pruning")
class IterativePruning(Pruning):
    """Raises the sparsity by a schedule; what is zero in one round stays zero in the next."""

    reads: ClassVar[tuple[Split, ...]] = ("train", "calibration")
    confined: ClassVar[bool] = False
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float"})
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"sparsity": 0.8, "rounds": 2, "learning_rate": 0.01},
        {"sparsity": 0.5, "rounds": 2, "score": "taylor_pruning", "scope": "layer", "schedule": "linear"},
    )

    score: str = "magnitude_pruning"
    """The operation that says which weights go, with its other parameters as they are by default: `magnitude_pruning`,
    `taylor_pruning`, `wanda_pruning`, `random_pruning` or an installed one."""
    scope: Literal["global", "layer", "row"] = "global"
    """Among which weights they compete: those of all targets, of each tensor, or of each output of a layer."""
    rounds: Annotated[int, Field(ge=1, le=1_000)] = 4
    """How often is pruned, and then trained. With n:m a round takes whole weights out of every m."""
    schedule: Literal["cubic", "linear", "geometric"] = "cubic"
    """How the sparsity rises: fast at first (`cubic`, the source's), by the same number of weights each round
    (`linear`), or by the same share of those that are left (`geometric`)."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Passes over the train split after each round."""
    learning_rate: Annotated[float, Field(gt=0.0, le=10.0)] = 1e-3
    """The highest learning rate of each round's schedule."""
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64
    """Instances a training step."""

    @field_validator("score")
    @classmethod
    def _is_known(cls, score: str) -> str:
        known = [name for name, kind in operations.items() if issubclass(kind, ScoredPruning)]
        if score not in known:
            raise ValueError(f"it must be one of {', '.join(known)}")
        return score

    def unfit(self, target: Target) -> str:
        """Whatever the operation that gives the scores has against it."""
        return self._round(1.0).unfit(target)

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Prune and train, round after round."""
        said = len(context.findings)
        for turn in range(1, self.rounds + 1):
            # Each round would say the same of the patterns.
            del context.findings[said:]
            model = self._round(turn / self.rounds).apply(model, context)
            model = train(
                model,
                context.task.data("train"),
                context.task.loss,
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                batch_size=self.batch_size,
                seed=context.seed + turn,
                keep_zeros=True,
                after_epoch=self._told(context, turn),
            )
        return model

    def sparsity_after(self, done: float, final: float) -> float:
        """The sparsity when a share of the rounds is done.

        Args:
            done: In (0, 1].
            final: The sparsity after all rounds.
        """
        if self.schedule == "geometric":
            return float(1 - (1 - final) ** done)
        return float(final * (done if self.schedule == "linear" else 1 - (1 - done) ** 3))

    def _round(self, done: float) -> ScoredPruning:
        """The pruning of one round."""
        kind = operations[self.score]
        assert issubclass(kind, ScoredPruning)
        common = {"include": self.include, "exclude": self.exclude, "scope": self.scope}
        if self.kept_of:
            kept, of = self.kept_of
            now = of - round(of * self.sparsity_after(done, 1 - kept / of))
            blocks = f"{now}:{of}" if now < of else None
            return kind.model_validate({"sparsity": 1 - now / of, "semi_structured": blocks, **common})
        levels = {pattern: self.sparsity_after(done, level) for pattern, level in self.levels.items()}
        return kind.model_validate({"sparsity": self.sparsity_after(done, self.sparsity), "levels": levels, **common})

    def _told(self, context: Context, turn: int) -> Callable[[nn.Module, int], None] | None:
        """Reports an epoch of a round as one of all."""
        after_epoch, before = context.after_epoch, (turn - 1) * self.epochs
        return None if after_epoch is None else lambda model, epoch: after_epoch(model, before + epoch)
