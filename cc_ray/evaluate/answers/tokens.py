"""Tokens: a language model gives each token of a text a probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, Protocol, Self, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cc_ray.evaluate.answers.base import Answers, Flags, Floats, Integers, Objects, Singles, answers
from cc_ray.schema import FLOATS, INDICES
from cc_ray.tasks import Data, Task

UNSCORED: Final = -100
"""Label of a place at which no token is to be predicted, as torch's cross entropy has it."""
TOP: Final = 8
"""The most probable tokens whose probabilities are kept; those of all others together are what is left of 1."""


class Continues(Protocol):
    """What a task of this kind can do besides what every task can."""

    def continuations(self, model: nn.Module, batch: Data) -> Objects | None:
        """What a model goes on with after the beginning of some instances, (n,), None for the others.

        None where nothing is to be generated. The inputs are on the model's device.
        """


@answers("tokens")
@dataclass(frozen=True)
class Tokens(Answers):
    """Probabilities of tokens. A task of this kind has labels (n, length), what comes after each place or `UNSCORED`.

    Its `logits` are (n, length, vocabulary). Of all but the `TOP` most probable tokens only their sum is kept, and that
    of each place: whole distributions would fill the memory. So divergences are taken while both models answer.
    """

    asks_others: ClassVar[bool] = True

    scored: Flags
    """Whether a token is to be predicted at a place, (n, length)."""
    token_losses: Singles
    """-ln of the true token's probability, (n, length), in nats; 0 at places that are not scored."""
    top_tokens: NDArray[np.int32]
    """The most probable tokens, the first foremost, (n, length, `TOP` or the vocabulary)."""
    top_log_probabilities: Singles
    """Natural logarithms of their probabilities, of the same shape."""
    hits: Flags
    """Whether the true token is the most probable, (n, length)."""
    kl_from_base: Floats | None = None
    """Mean over the scored places of KL(base || model), (n,), in nats."""
    same_top_from_base: Floats | None = None
    """Share of the scored places at which both put the same token first, (n,)."""
    kl_from_parent: Floats | None = None
    """As `kl_from_base`, of the parent."""
    same_top_from_parent: Floats | None = None
    """As `same_top_from_base`, of the parent."""
    texts: Objects | None = None
    """What the model goes on with after the beginning of each instance, (n,), str or None; None for none at all."""

    @classmethod
    def ask(cls, task: Task, model: nn.Module, batch: Data, others: Mapping[str, nn.Module]) -> Self:
        """Ask for the probabilities and compare them with those of the others."""
        labels = batch.labels.to(batch.inputs.device)
        scored = labels != UNSCORED
        own = _log_probabilities(task, model, batch.inputs)
        losses = -own.gather(2, labels.clamp(min=0)[:, :, None])[:, :, 0]
        top = own.topk(min(TOP, own.shape[2]), dim=2)
        compared: dict[str, Floats] = {}
        seen: dict[int, dict[str, Floats]] = {}
        for name, other in others.items():
            if id(other) not in seen:
                seen[id(other)] = _compared(own, _log_probabilities(task, other, batch.inputs), scored)
            compared |= {f"{measure}_from_{name}": values for measure, values in seen[id(other)].items()}
        return cls(
            batch.instances.numpy(),
            scored.cpu().numpy(),
            losses.masked_fill(~scored, 0.0).float().cpu().numpy(),
            top.indices.int().cpu().numpy(),
            top.values.float().cpu().numpy(),
            ((top.indices[:, :, 0] == labels) & scored).cpu().numpy(),
            texts=cast(Continues, task).continuations(model, batch),
            **compared,
        )

    @property
    def outputs(self) -> Tensor:
        """The losses of the tokens; 0 at places that are not scored."""
        return torch.from_numpy(self.token_losses)

    @cached_property
    def tokens(self) -> Integers:
        """Number of scored tokens, (n,)."""
        counts: Integers = self.scored.sum(axis=1)
        return counts

    @cached_property
    def losses(self) -> Floats:
        """Mean of -ln p over the scored tokens, (n,), in nats."""
        sums: Floats = self.token_losses.sum(axis=1, dtype=np.float64)
        return sums / np.maximum(self.tokens, 1)

    def columns(self) -> dict[str, Any]:
        """Losses, the most probable tokens and divergences."""
        ends = np.append(0, np.cumsum(self.tokens)).astype(np.int32)
        top = self.top_tokens.shape[2]
        return {
            "loss": self.losses,
            "tokens": self.tokens,
            "token_losses": _lists(self.token_losses[self.scored], ends, FLOATS),
            "top_tokens": _lists(self.top_tokens[self.scored].ravel(), ends * top, INDICES),
            "top_log_probabilities": _lists(self.top_log_probabilities[self.scored].ravel(), ends * top, FLOATS),
            "kl_from_base": self.kl_from_base,
            "same_top_from_base": self.same_top_from_base,
            "kl_from_parent": self.kl_from_parent,
            "same_top_from_parent": self.same_top_from_parent,
            "text": self.texts,
        }


def _log_probabilities(task: Task, model: nn.Module, inputs: Tensor) -> Tensor:
    """Natural logarithm of every token's probability at every place, (n, length, vocabulary)."""
    return task.logits(model, inputs).double().log_softmax(dim=2)


def _compared(own: Tensor, other: Tensor, scored: Tensor) -> dict[str, Floats]:
    """KL divergence from another model, and share of the places with the same token first, means over the scored."""
    kl = nn.functional.kl_div(own, other, reduction="none", log_target=True).sum(dim=2)
    same = own.argmax(dim=2) == other.argmax(dim=2)
    count = scored.sum(dim=1).clamp(min=1)
    return {
        name: ((values * scored).sum(dim=1) / count).cpu().numpy() for name, values in (("kl", kl), ("same_top", same))
    }


def _lists(values: NDArray[Any], ends: NDArray[np.int32], type_: pa.DataType) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values), type=type_)
