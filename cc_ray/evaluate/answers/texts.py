"""Texts: the answer is a text, generated or taken from a passage, beside accepted answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from cc_ray.evaluate.answers.base import Answers, Flags, Floats, Integers, Objects, Singles, answers, on_cpu
from cc_ray.overlap import exact_match, f1
from cc_ray.tasks import Data, Task


class Writes(Protocol):
    """What a task of this kind can do besides what every task can."""

    def texts(self, model: nn.Module, batch: Data, logits: Tensor) -> Sequence[str]:
        """A model's answer to each instance of a batch whose inputs are on the model's device, given its logits."""

    def references(self, instances: Tensor) -> Sequence[Sequence[str]]:
        """Accepted answers of each instance, at least one, of whichever split."""

    def token_losses(self, logits: Tensor, labels: Tensor) -> Tensor | None:
        """-ln of the probability of each token of the first accepted answer, (n, length), in nats.

        NaN where there is no token; None of a model that scores no tokens.
        """


@answers("texts")
@dataclass(frozen=True)
class Texts(Answers):
    """Texts beside references. A task of this kind keeps to `Writes`."""

    texts: Objects
    """The answers, (n,), str."""
    references: Objects
    """Accepted answers of each instance, (n,), each a tuple of str."""
    scores: Singles
    """What the model put out, (n, ...): scores of places in a passage, or losses of the accepted answer's tokens."""
    losses: Floats | None = None
    """Mean of -ln p over the tokens of the accepted answer, (n,), in nats."""
    tokens: Integers | None = None
    """Number of these tokens, (n,)."""

    @classmethod
    def ask(cls, task: Task, model: nn.Module, batch: Data, others: Mapping[str, nn.Module]) -> Self:
        """Ask for the texts, and for the probability of the first accepted answer where the model gives one."""
        writes = cast(Writes, task)
        logits = task.logits(model, batch.inputs)
        texts = _objects(writes.texts(model, batch, logits))
        references = _objects([tuple(accepted) for accepted in writes.references(batch.instances)])
        losses = writes.token_losses(logits, batch.labels.to(logits.device))
        if losses is None:
            return cls(batch.instances.numpy(), texts, references, on_cpu(logits))
        held = on_cpu(losses).astype(np.float32)
        tokens = (~np.isnan(held)).sum(axis=1)
        means = np.nansum(held, axis=1, dtype=np.float64) / np.maximum(tokens, 1)
        return cls(batch.instances.numpy(), texts, references, np.nan_to_num(held), means, tokens)

    @property
    def outputs(self) -> Tensor:
        """What the model put out."""
        return torch.from_numpy(self.scores)

    @cached_property
    def correct(self) -> Flags:
        """Whether the text equals a reference, both normalised, (n,)."""
        return np.array([exact_match(*pair) for pair in zip(self.texts, self.references, strict=True)], bool)

    @cached_property
    def f1(self) -> Floats:
        """Largest F1 of the words that the text shares with a reference, (n,), in [0, 1]."""
        return np.array([f1(*pair) for pair in zip(self.texts, self.references, strict=True)], np.float64)

    def columns(self) -> dict[str, Any]:
        """The text, how it compares with the references, and the losses where they are known."""
        return {
            "text": self.texts,
            "correct": self.correct,
            "f1": self.f1,
            "loss": self.losses,
            "tokens": self.tokens,
        }


def _objects(values: Sequence[Any]) -> Objects:
    # Not by np.array, which makes a matrix of tuples of one length.
    found = np.empty(len(values), object)
    found[:] = values
    return found
