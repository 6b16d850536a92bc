"""Answers of models that generate text: the text beside accepted answers, and the loss over scored tokens.

| column | holds |
|---|---|
| `text` | the generated text |
| `references` (or `reference`) | accepted answers: a list of texts, in CSV a text or a JSON list of texts |
| `prompt` (or `question`) | what the model was asked; shown as the instance |
| `loss`, `tokens` | mean of -ln p over the scored tokens, in nats, and their number: one never without the other |
| `token_losses` | -ln p of each scored token, a list of numbers (in CSV JSON); `loss` and `tokens` follow from it |
| `token_texts` | the scored tokens as text, a list of texts (in CSV JSON) |
| `kl_from_base`, `kl_from_parent` | mean KL divergence over the tokens, in nats |
| `same_top_from_base`, `same_top_from_parent` | share of tokens on which both put the same token first |

Columns of texts or of losses, at least, make a source one of generated text.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special
from scipy.stats import binomtest

from cc_ray.imports.answers import Flags, Floats, Integers, Row
from cc_ray.imports.reading import ResultFileError
from cc_ray.overlap import exact_match, f1

DIVERGENCES: Final = ("kl_from_base", "kl_from_parent")
SAME_TOP: Final = ("same_top_from_base", "same_top_from_parent")
NUMBERS: Final = ("loss", *DIVERGENCES, *SAME_TOP)
"""Columns of numbers of the scored tokens."""
LARGEST_LOSS: Final = 700.0
"""In nats; the perplexity of a larger one is no number."""
LOSS_SLACK: Final = 1e-3
"""How far a mean may lie from that of the losses it stands beside, as a share: it may have been rounded."""
DIRECTIONS: Final = {"exact_match": "higher", "f1": "higher", "perplexity": "lower"}
"""Which values of the metrics of generated text are better."""

Texts = tuple[str, ...]


@dataclass(frozen=True)
class Prompts:
    """The evaluation instances of a task that is solved by generating text, sorted by identity."""

    instances: Integers
    """Identities, (n,)."""
    references: tuple[Texts, ...] = ()
    """Accepted answers of each instance; empty for none at all."""
    members: tuple[Texts, ...] = ()
    """Slices of each instance; empty for none at all."""
    payloads: Texts = ()
    """What each model was asked; empty for none at all."""
    tokens: tuple[Texts, ...] = ()
    """The scored tokens of each instance; empty for none at all."""

    def slices(self, class_names: Sequence[str]) -> list[list[str]]:
        """Slices of each instance."""
        return [list(names) for names in self.members or ((),) * len(self.instances)]

    def table(self, task_id: str, class_names: Sequence[str]) -> pa.Table:
        """Rows of `schema.INSTANCES`."""
        count = len(self.instances)
        return pa.table(
            {
                "task_id": pa.array([task_id] * count, pa.string()),
                "instance": self.instances,
                "references": pa.array(self.references or [None] * count, pa.list_(pa.string())),
                "slices": pa.array(self.slices(class_names), pa.list_(pa.string())),
                "payload": pa.array([text.encode() for text in self.payloads or ("",) * count], pa.binary()),
                "payload_type": ["text/plain"] * count,
                "token_texts": pa.array(self.tokens or [None] * count, pa.list_(pa.string())),
            }
        )


@dataclass(frozen=True)
class GivenTexts:
    """What one source says of generated text; rows as they come."""

    name: str
    instances: Integers | None
    texts: Texts | None
    references: tuple[Texts, ...] | None
    prompts: Texts | None
    tokens: Integers | None
    numbers: Mapping[str, Floats]
    """Those of `NUMBERS` that are there, each (n,)."""
    slices: Mapping[str, Sequence[str]]
    count: int
    token_losses: tuple[Floats, ...] | None = None
    """Of each instance those of its scored tokens."""
    token_texts: tuple[Texts, ...] | None = None


@dataclass(frozen=True)
class GeneratedAnswers:
    """A model's generated text, one row an instance, sorted by identity."""

    instances: Integers
    """Identities, (n,)."""
    texts: Texts | None = None
    """None if only losses are known."""
    references: tuple[Texts, ...] = ()
    """Accepted answers of each instance; empty for none at all."""
    tokens: Integers | None = None
    """Number of scored tokens, (n,)."""
    numbers: Mapping[str, Floats] | None = None
    """Those of `NUMBERS` that are known, each (n,)."""
    token_losses: tuple[Floats, ...] | None = None
    """Of each instance those of its scored tokens."""

    @cached_property
    def digest(self) -> str:
        """Hash of the content."""
        hashed = hashlib.sha256(json.dumps([self.texts, self.references]).encode())
        arrays = {"instances": self.instances, "tokens": self.tokens, **(self.numbers or {})}
        if self.token_losses is not None:
            arrays["token_losses"] = np.concatenate(self.token_losses)
        for name, array in sorted(arrays.items()):
            hashed.update(name.encode() + (b"none" if array is None else np.ascontiguousarray(array).tobytes()))
        return hashed.hexdigest()

    @cached_property
    def correct(self) -> Flags | None:
        """Whether the text equals a reference, (n,); None without texts or references."""
        if self.texts is None or not self.references:
            return None
        pairs = zip(self.texts, self.references, strict=True)
        return np.array([exact_match(text, references) for text, references in pairs])

    @cached_property
    def f1(self) -> Floats | None:
        """F1 of the words shared with a reference, (n,); None without texts or references."""
        if self.texts is None or not self.references:
            return None
        return np.array([f1(text, references) for text, references in zip(self.texts, self.references, strict=True)])

    def table(self, model_id: str) -> pa.Table:
        """Rows of `schema.PREDICTIONS`; what the model did not do, such as naming a class, is left out."""
        columns: dict[str, Any] = {
            "model_id": pa.array([model_id] * len(self.instances), pa.string()),
            "instance": pa.array(self.instances, pa.int64()),
        }
        columns |= {"correct": self.correct, "f1": self.f1, "tokens": self.tokens, **(self.numbers or {})}
        if self.texts is not None:
            columns["text"] = pa.array(self.texts, pa.string())
        if self.token_losses is not None:
            columns["token_losses"] = pa.array(self.token_losses, pa.list_(pa.float32()))
        types = {
            "correct": pa.bool_(),
            "tokens": pa.int64(),
            "f1": pa.float32(),
            **dict.fromkeys(NUMBERS, pa.float32()),
        }
        return pa.table(
            {name: pa.array(values, types.get(name)) for name, values in columns.items() if values is not None}
        )

    def metrics(self, members: Mapping[str, Flags]) -> list[Row]:
        """Rows of `schema.METRICS`, without `model_id`: exact_match, f1 and perplexity, where they are known.

        Args:
            members: Which instances belong to a slice, (n,), by its name.
        """
        rows: list[Row] = []
        for name, chosen in members.items():
            place = {"split": "evaluation", "slice": name, "device": "", "n": int(chosen.sum())}
            rows += [{"metric": metric, **place, **value} for metric, value in self._values(chosen).items()]
        return rows

    def _values(self, chosen: Flags) -> dict[str, Row]:
        found: dict[str, Row] = {}
        if self.correct is not None and self.f1 is not None:
            right = self.correct[chosen]
            ends = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
            found["exact_match"] = {
                "value": float(right.mean()),
                "ci_low": float(ends.low),
                "ci_high": float(ends.high),
            }
            found["f1"] = _mean(self.f1[chosen])
        if self.tokens is not None and self.tokens[chosen].any():
            mean = float(np.average((self.numbers or {})["loss"][chosen], weights=self.tokens[chosen]))
            # Without an interval here: that of `compare.generation` resamples instances.
            found["perplexity"] = {"value": math.exp(mean), "ci_low": None, "ci_high": None}
        return found


def generates(columns: Mapping[str, Any], classes: bool) -> bool:
    """Whether a source holds generated text.

    Args:
        columns: What it holds, by role; None for what it does not.
        classes: It holds labels, predictions or class scores.
    """
    there = {role for role, values in columns.items() if values is not None}
    return "references" in there or (not classes and bool(there & {"text", "loss", "tokens", "token_losses"}))


def given_texts(
    columns: Mapping[str, Any],
    name: str,
    *,
    instances: Integers | None,
    slices: Mapping[str, Sequence[str]],
    count: int,
) -> GivenTexts:
    """Check the columns of one source, by role.

    Raises:
        ResultFileError: If a column holds what it should not, or one lacks its companion.
    """
    columns, losses = _with_token_losses(columns, name)
    if (columns["loss"] is None) != (columns["tokens"] is None):
        raise ResultFileError(
            f"{name} has a column of {'tokens' if columns['loss'] is None else 'losses'} without the other: a mean "
            "loss (loss, nats) belongs to a number of scored tokens (tokens)."
        )
    numbers = {role: _numbers(columns[role], f"{name}: {role}", role) for role in NUMBERS if columns[role] is not None}
    if numbers and columns["tokens"] is None:
        raise ResultFileError(
            f"{name}: {', '.join(numbers)} are means over tokens: give their number (tokens) and loss."
        )
    return GivenTexts(
        name,
        instances,
        None if columns["text"] is None else _texts(columns["text"], f"{name}: text"),
        None if columns["references"] is None else _references(columns["references"], f"{name}: references"),
        None if columns["prompt"] is None else _texts(columns["prompt"], f"{name}: prompt"),
        None if columns["tokens"] is None else _tokens(columns["tokens"], f"{name}: tokens"),
        numbers,
        slices,
        count,
        losses,
        _token_texts(columns["token_texts"], losses, name),
    )


def _with_token_losses(columns: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], tuple[Floats, ...] | None]:
    """The columns with the loss and the number of tokens that follow from losses of tokens, and these losses.

    Raises:
        ResultFileError: If a loss is none, or another mean or number stands beside them.
    """
    if columns["token_losses"] is None:
        return columns, None
    what = f"{name}: token_losses"
    rows = [_listed(row, what, place) for place, row in enumerate(columns["token_losses"])]
    losses = tuple(_numbers(row, f"{what}, list {place}", "token_losses") for place, row in enumerate(rows))
    follows = {"loss": np.array([row.mean() for row in losses]), "tokens": np.array([len(row) for row in losses])}
    for role, made in follows.items():
        if columns[role] is not None:
            beside = _floats(columns[role], f"{name}: {role}")
            other = np.flatnonzero(np.abs(beside - made) > LOSS_SLACK * np.maximum(1.0, made))
            if other.size:
                raise ResultFileError(
                    f"{name}: {role} is {beside[other[0]]:g} in row {other[0]}, counted from 0, and {made[other[0]]:g} "
                    "by its token_losses: leave the column out, it follows from them."
                )
    return {**columns, **{role: made for role, made in follows.items() if columns[role] is None}}, losses


def _listed(row: Any, what: str, place: int) -> list[Any]:
    """A list that may stand there as JSON."""
    try:
        held = json.loads(row) if isinstance(row, str) else row
    except (ValueError, RecursionError) as error:
        raise ResultFileError(f"{what}: row {place}, counted from 0, is no list of JSON.") from error
    if not isinstance(held, list) or not held:
        raise ResultFileError(f"{what}: row {place}, counted from 0, must be a list of one or more values.")
    return held


def _token_texts(values: Any, losses: tuple[Floats, ...] | None, name: str) -> tuple[Texts, ...] | None:
    if values is None:
        return None
    what = f"{name}: token_texts"
    texts = tuple(tuple(str(text) for text in _listed(row, what, place)) for place, row in enumerate(values))
    if losses is not None:
        other = next((place for place, row in enumerate(texts) if len(row) != len(losses[place])), None)
        if other is not None:
            raise ResultFileError(
                f"{what}: row {other}, counted from 0, has {len(texts[other])} texts, and {len(losses[other])} losses: "
                "one for each scored token is expected."
            )
    return texts


def generated_answers(
    one: GivenTexts, order: NDArray[np.int64], instances: Integers, references: tuple[Texts, ...]
) -> GeneratedAnswers:
    """A source's answers in the order of the instances.

    Raises:
        ResultFileError: If it has neither texts nor losses.
    """
    if one.texts is None and one.tokens is None:
        raise ResultFileError(
            f"{one.name} has references, and neither generated texts (text) nor losses (loss, tokens)."
        )
    return GeneratedAnswers(
        instances,
        None if one.texts is None else tuple(one.texts[row] for row in order),
        references,
        None if one.tokens is None else one.tokens[order],
        {name: values[order] for name, values in one.numbers.items()},
        None if one.token_losses is None else tuple(one.token_losses[row] for row in order),
    )


def odd_texts(answers: GeneratedAnswers) -> list[tuple[str, str, str]]:
    """What is odd about answers: check, severity, message."""
    if answers.texts is not None and not answers.references:
        said = "there are no accepted answers (references): exact match and F1 of this model are unknown."
        return [("references_missing", "info", said)]
    return []


def _mean(values: Floats) -> Row:
    """A mean in [0, 1] with the normal 95 % interval."""
    mean = float(values.mean())
    if len(values) < 2:
        return {"value": mean, "ci_low": None, "ci_high": None}
    half = float(special.ndtri(0.975) * values.std(ddof=1) / math.sqrt(len(values)))
    return {"value": mean, "ci_low": max(0.0, mean - half), "ci_high": min(1.0, mean + half)}


def _texts(values: Any, what: str) -> Texts:
    rows = list(values)
    for place, text in enumerate(rows):
        if isinstance(text, list | np.ndarray):
            raise ResultFileError(f"{what}: one text is expected in row {place}, counted from 0, found a list.")
    return tuple(str(text) for text in rows)


def _references(values: Any, what: str) -> tuple[Texts, ...]:
    found = tuple(_accepted(value) for value in values)
    empty = next((place for place, texts in enumerate(found) if not texts), None)
    if empty is not None:
        raise ResultFileError(f"{what}: row {empty}, counted from 0, has no accepted answer; one or more are expected.")
    return found


def _accepted(value: Any) -> Texts:
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(str(text) for text in value)
    text = str(value)
    if text.startswith("["):
        try:
            held = json.loads(text)
        except (ValueError, RecursionError):
            return (text,)
        if isinstance(held, list) and all(isinstance(each, str) for each in held):
            return tuple(held)
    return (text,)


def _floats(values: Any, what: str) -> Floats:
    try:
        found = np.asarray(values).astype(np.float64)
    except (ValueError, TypeError) as error:
        raise ResultFileError(f"{what}: numbers are expected ({error}).") from error
    if found.ndim != 1:
        raise ResultFileError(f"{what}: one number in each row is expected.")
    return found


def _numbers(values: Any, what: str, role: str) -> Floats:
    numbers = _floats(values, what)
    most = 1.0 if role in SAME_TOP else LARGEST_LOSS
    bad = np.flatnonzero(~((numbers >= 0) & (numbers <= most)))
    if bad.size:
        raise ResultFileError(
            f"{what}: {numbers[bad[0]]:g} in row {bad[0]}, counted from 0; a number in [0, {most:g}] is expected."
        )
    return numbers


def _tokens(values: Any, what: str) -> Integers:
    numbers = _floats(values, what)
    bad = np.flatnonzero(~((numbers >= 1) & (numbers < 2**53) & (numbers == np.floor(numbers))))
    if bad.size:
        raise ResultFileError(
            f"{what}: {numbers[bad[0]]:g} in row {bad[0]}, counted from 0; a whole number from 1 is expected."
        )
    return numbers.astype(np.int64)
