"""A task whose inputs are tokens: its models, its data read once, and how models of several libraries are called."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Annotated, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import canonical_json
from cc_ray.schema import INSTANCES
from cc_ray.tasks.base import Data, Split, Task
from cc_ray.tasks.bases import BaseName, FromFactory, FromTransformers
from cc_ray.tasks.bases.small_transformer import SmallTransformer
from cc_ray.tasks.language.pieces import FILE, Pieces, Subwords
from cc_ray.tasks.sources import Cut, Rows, Slice, Sources, contents, fingerprint, members

IGNORED: Final = -100
"""A label that loss and metrics leave out, as torch's cross entropy has it."""
PLACES: Final = 16_384
"""Tokens that models are asked about at a time, about."""


@dataclass(frozen=True)
class Held:
    """The instances of a task, all splits together; the position is the identity."""

    pieces: Pieces
    inputs: NDArray[np.int64]
    """Tokens, (n, length)."""
    labels: NDArray[np.int64]
    """As in `Data`, (n, ...)."""
    cut: Cut
    """Which split each is in."""
    columns: pa.Table
    """What slices are made of, n rows."""
    known: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Columns of `schema.INSTANCES`, each (n,)."""
    class_names: tuple[str, ...] = ()
    """Names of the classes, if there are any."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What else the task knows of each, (n, ...)."""


class LanguageTask(Task):
    """A task whose inputs are tokens, (n, length), int64, padded at the end.

    Base models are those of the library transformers, small ones that are made here and trained from nothing, or
    modules of a function, which are called with the tokens alone.
    """

    models: Annotated[dict[BaseName, FromTransformers | SmallTransformer | FromFactory], Field(min_length=1)]
    """The base models, by the names that recipes call them; all read the same tokens."""
    sources: Sources
    """Where the data lies: CSV, Parquet, JSON or text."""
    tokenizer: str | Subwords | None = None
    """A folder with a `tokenizer.json`, or `hf://OWNER/NAME`; or one that is learnt from the train split. If left out
    that of the first model from transformers, else one that is learnt."""
    length: Annotated[int, Field(ge=2)] = 128
    """Tokens of an instance at most; what is longer is cut off."""
    slices: tuple[Slice, ...] = ()
    """What makes slices of the evaluation instances: columns of the data, ranges and conditions. A column `tokens` has
    the length of each instance."""

    @property
    @abstractmethod
    def auto(self) -> str:
        """Class of transformers that makes models for the task."""

    @property
    def reads_pairs(self) -> bool:
        """Whether an instance is two texts, one behind the other."""
        return False

    @abstractmethod
    def read(self) -> Held:
        """Read all data."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """None, if not overridden."""
        return ()

    @property
    def bases(self) -> tuple[str, ...]:
        """The names in `models`."""
        return tuple(self.models)

    @property
    def at_once(self) -> int:
        """So many instances as have about 16,000 tokens, at most 256."""
        return int(np.clip(PLACES // self.length, 1, 256))

    def build(self, base: str) -> nn.Module:
        """Make a base model with untrained weights; here what makes it is imported.

        Raises:
            InvalidRecipeError: If there is no such base model, or it cannot be made.
        """
        return self._model(base).untrained(**self._given(base))

    def train(self, base: str, seed: int) -> nn.Module:
        """Make a base model with its weights, and train it if it is to be trained.

        Raises:
            InvalidRecipeError: If there is no such base model, its weights do not fit or it cannot be made.
        """
        return self._model(base).ready(self, seed, **self._given(base))

    def data(self, split: Split) -> Data:
        """Tokens of one split, (n, length), in order of identity."""
        places = self.held.cut.places(split)
        inputs, labels = (torch.from_numpy(values[places]) for values in (self.held.inputs, self.held.labels))
        return Data(inputs, labels, torch.from_numpy(places))

    def instances(self) -> pa.Table:
        """The evaluation instances as text, with a slice for each class besides those asked for."""
        held, places = self.held, self.held.cut.places("evaluation")
        known = self.described(places)
        columns = {
            "task_id": [self.task_id] * len(places),
            "instance": places,
            "slices": members(self.slices, held.columns.take(places), known.get("label_name")),
            "payload_type": ["text/plain"] * len(places),
            **known,
        }
        missing = [None] * len(places)
        arrays = [pa.array(columns.get(column.name, missing), column.type) for column in INSTANCES.schema]
        return pa.table(arrays, schema=INSTANCES.schema)

    def places(self, inputs: Tensor) -> Sequence[Tensor]:
        """All tokens of each instance up to its last one that is not padding, (n, length)."""
        return (self.real(inputs),)

    def real(self, tokens: Tensor) -> Tensor:
        """Which tokens, (n, length), are no padding at the end, bool; the first never is."""
        # Tokenizers without a token for padding pad with one that texts hold, too, such as their beginning.
        places = torch.arange(tokens.shape[1], device=tokens.device)
        last = (places * (tokens != self.held.pieces.padding)).amax(1, keepdim=True)
        return places <= last

    def described(self, places: NDArray[np.int64]) -> dict[str, Any]:
        """Columns of `schema.INSTANCES` of some instances: `payload` and what else there is to know."""
        return {name: [values[place] for place in places] for name, values in self.held.known.items()}

    def data_fingerprint(self) -> str:
        """SHA-256 over all files of the data, the models and the tokenizer."""
        models = (address for model in self.models.values() for address in model.addresses())
        tokenizer = [f"{folder.rstrip('/')}/{FILE}"] if (folder := self._folder) else []
        return fingerprint([*self.sources.addresses.values(), *models, *tokenizer])

    def identifying(self) -> dict[str, Any]:
        """All fields but those that say where files lie."""
        fields = self.model_dump(mode="json", exclude={"models", "sources", "tokenizer"})
        tokenizer = None if self._folder else self._learning.model_dump(mode="json")
        models = {name: model.identifying() for name, model in self.models.items()}
        return {**fields, "models": models, "sources": self.sources.identifying(), "tokenizer": tokenizer}

    @cached_property
    def held(self) -> Held:
        """All data, read once by a process."""
        return _held(type(self), canonical_json(self.to_json()["parameters"]))

    def pieces(self, texts: Sequence[str]) -> Pieces:
        """The tokenizer: that of a folder, else learnt from the texts of the train split."""
        return Pieces.read(self._folder) if self._folder else self._learning.learnt(iter(texts))

    def called(self, model: nn.Module, inputs: Tensor, **more: Tensor) -> Any:
        """What a model answers to tokens, (n, length): its first output, or all where `more` is asked for.

        Args:
            model: Of transformers, which also sees which tokens are padding, or any other module.
            inputs: The tokens.
            **more: Further inputs of a model of transformers.
        """
        if not hasattr(model, "config"):
            return model(inputs)
        there = inputs != self.held.pieces.padding
        end = self.held.pieces.end
        if self.reads_pairs and end is not None and getattr(model.config, "type_vocab_size", 1) > 1:
            ends = inputs.eq(end)
            # The second text begins behind the first end.
            more["token_type_ids"] = ((ends.cumsum(dim=1) > ends.long()) & there).long()
        return model(input_ids=inputs, attention_mask=there.long(), **more)

    def _model(self, base: str) -> FromTransformers | SmallTransformer | FromFactory:
        if base not in self.models:
            raise InvalidRecipeError(f"task '{self.name}' has no base model '{base}': use {' or '.join(self.models)}.")
        return self.models[base]

    def _given(self, base: str) -> dict[str, Any]:
        """What a model has to know of the task; a function of the user's has its own arguments."""
        if isinstance(self.models[base], FromFactory):
            return {}
        pieces = self.held.pieces
        known: dict[str, Any] = {"auto": self.auto, "classes": len(self.class_names) or None}
        if isinstance(self.models[base], SmallTransformer):
            known |= {"vocabulary": pieces.size, "padding": pieces.padding, "end": pieces.end, "length": self.length}
        return known

    @property
    def _folder(self) -> str | None:
        """Where the tokenizer lies; None for one that is learnt."""
        if self.tokenizer is not None:
            return self.tokenizer if isinstance(self.tokenizer, str) else None
        return next((m.transformers for m in self.models.values() if isinstance(m, FromTransformers)), None)

    @property
    def _learning(self) -> Subwords:
        return self.tokenizer if isinstance(self.tokenizer, Subwords) else Subwords()


def texts_of(rows: Rows, column: str) -> list[str]:
    """A column of texts.

    Raises:
        InvalidRecipeError: If there is none, or a text is missing.
    """
    values = rows.column(column)
    if values.null_count:
        raise InvalidRecipeError(f"column '{column}' lacks {values.null_count} texts: leave these rows out.")
    found: list[str] = pc.cast(values, pa.string()).to_pylist()
    return found


def with_lengths(columns: pa.Table, lengths: Sequence[int]) -> pa.Table:
    """Columns with one more, `tokens`: the length of each instance; one of that name that the data has is kept."""
    if "tokens" in columns.column_names:
        return columns
    return columns.append_column("tokens", pa.array(lengths, pa.int64()))


def apart(cut: Cut, inputs: NDArray[np.int64]) -> Cut:
    """Keep instances that have become equal, as by cutting off their ends, in one split: the first of the usual order.

    Args:
        cut: Which split each is in.
        inputs: Tokens, (n, length).
    """
    held, split = contents(row.tobytes() for row in inputs), cut.split.copy()
    seen: dict[bytes, str] = {}
    for name in ("evaluation", "calibration", "train"):
        for place in np.flatnonzero(cut.split == name):
            if seen.setdefault(held[place], name) != name:
                split[place] = ""
    return Cut(split)


def mean_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy where there is a label, a scalar in nats; 0 where there is none.

    Args:
        scores: Unnormalised, (..., classes).
        labels: Indices of classes, (...), or `IGNORED`.
    """
    losses = nn.functional.cross_entropy(scores.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return losses / (labels != IGNORED).sum().clamp(min=1)


@lru_cache(maxsize=2)
def _held(kind: type[LanguageTask], parameters: str) -> Held:
    return kind.model_validate_json(parameters).read()
