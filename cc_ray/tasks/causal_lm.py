"""Language models that tell the next token: models and texts that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from cc_ray.tasks.base import Data, task
from cc_ray.tasks.language.family import IGNORED, Held, LanguageTask, apart, mean_loss, texts_of, with_lengths
from cc_ray.tasks.language.pieces import Pieces
from cc_ray.tasks.sources import Cut, Rows, contents

PLACES: Final = 4096
"""Tokens whose probabilities are computed at a time, about: over a vocabulary of 32,000 they take 1 GB."""


@task("causal_lm")
class CausalLM(LanguageTask):
    """Which token comes next, at every place of a text.

    An instance is a window: up to `length` tokens that are to be predicted, each from those before it in the window.
    """

    auto: ClassVar[str] = "AutoModelForCausalLM"
    answers: ClassVar[str] = "tokens"

    text: str = "text"
    """Column of the texts; of text files each is one."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """What stands between documents of one text, such as `<|endoftext|>`; None where each text is one."""
    windows: Literal["all", "first"] = "all"
    """Of a document that is longer than `length`: all of its windows, or only its beginning."""
    ends: bool = False
    """Whether the end of a document, as the tokenizer marks it, is to be predicted too."""
    samples: Annotated[int, Field(ge=0)] = 4
    """So many evaluation instances are gone on with: the first ones that are longer than the prompt."""
    prompt: Annotated[int, Field(ge=1)] = 16
    """Tokens at the beginning of an instance that it is gone on with from."""
    written: Annotated[int, Field(ge=1)] = 32
    """Tokens that are written then, each the most probable."""

    @classmethod
    def example(cls, folder: Path) -> Self:
        """Forty short stories, and a decoder of one layer."""
        (folder / "stories.txt").write_text(
            "\n---\n".join(f"On day {day} the owl saw {day * day} mice and ate {day} of them." for day in range(40)),
            "utf-8",
        )
        model = {"layers": 1, "width": 16, "heads": 2, "training": {"epochs": 1, "learning_rate": 0.01}}
        fields: dict[str, Any] = {
            "models": {"small": model},
            "sources": {"train": str(folder / "stories.txt")},
            "tokenizer": {"vocabulary": 320},
            "separator": "\n---\n",
            "length": 24,
            "prompt": 4,
            "written": 3,
            "slices": [{"column": "tokens", "edges": [20]}],
        }
        return cls.model_validate(fields)

    @property
    def at_once(self) -> int:
        """So many instances as have about 4,000 tokens, at most 256: of each token all probabilities are computed."""
        return int(np.clip(PLACES // self.length, 1, 256))

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Unnormalised scores of every token at every place, (n, length, vocabulary)."""
        # Padding stands at the end, where no place looks at it: so no mask is needed.
        outputs = model(input_ids=inputs, use_cache=False) if hasattr(model, "config") else model(inputs)
        return outputs if isinstance(outputs, Tensor) else outputs.logits

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Mean of -ln p over the tokens of a batch that are to be predicted, in nats."""
        return mean_loss(self.logits(model, inputs), labels)

    def continuations(self, model: nn.Module, batch: Data) -> NDArray[np.object_] | None:
        """What a model goes on with after the beginnings of the `samples` first long evaluation instances."""
        wanted = np.isin(batch.instances.numpy(), self._sampled)
        found = np.full(len(batch), None, object)
        if wanted.any():
            chosen = torch.from_numpy(wanted)
            found[wanted] = self._written(model, batch.inputs[chosen.to(batch.inputs.device)])
        return found

    def read(self) -> Held:
        """Read the texts and cut them into windows.

        Raises:
            InvalidRecipeError: If a file or column is not as it should be, or a split stays empty.
        """
        parts = self.sources.read()
        joined = Rows.joined(parts)
        rows, origin = self._documents(joined)
        columns = joined.columns.drop_columns([self.text])
        source = np.repeat(np.arange(len(parts)), [len(part) for part in parts])[origin]
        cut = self.sources.cut(np.bincount(source, minlength=len(parts)).tolist(), contents(t.encode() for t in rows))
        pieces = self.pieces([rows[place] for place in cut.places("train")])
        windows, document = self._windows(pieces, rows)
        inputs = pieces.padded([window[:-1] for window in windows])
        return Held(
            pieces,
            inputs,
            pieces.padded([window[1:] for window in windows], IGNORED),
            apart(Cut(cut.split[document]), inputs),
            with_lengths(columns.take(origin[document]), [len(window) - 1 for window in windows]),
        )

    def described(self, places: NDArray[np.int64]) -> dict[str, Any]:
        """The text of each window, and of each of its tokens that are to be predicted."""
        pieces, held = self.held.pieces, self.held.labels
        windows = [[int(self.held.inputs[place, 0]), *held[place][held[place] != IGNORED].tolist()] for place in places]
        return {
            "payload": [pieces.text(window).encode() for window in windows],
            "token_texts": [pieces.texts(window)[1:] for window in windows],
        }

    def _documents(self, rows: Rows) -> tuple[list[str], NDArray[np.int64]]:
        """All documents that are not empty, and the row that each comes from."""
        texts = texts_of(rows, self.text)
        split = [text.split(self.separator) if self.separator else [text] for text in texts]
        found = [(place, held) for place, parts in enumerate(split) for part in parts if (held := part.strip())]
        return [text for _, text in found], np.array([place for place, _ in found], np.int64)

    def _windows(self, pieces: Pieces, documents: Sequence[str]) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Tokens of each window, of which the first is only looked at, and the document that it is of."""
        begin = [pieces.begin] if pieces.begin is not None else []
        end = [pieces.end] if self.ends and pieces.end is not None else []
        found, origin = list[list[int]](), list[int]()
        for place, encoding in enumerate(pieces.encoded(documents, special=False)):
            tokens = [*begin, *encoding.ids, *end]
            starts = range(0, len(tokens) - 1, self.length) if self.windows == "all" else (0,)
            windows = [tokens[start : start + self.length + 1] for start in starts]
            found += [window for window in windows if len(window) > 1]
            origin += [place for window in windows if len(window) > 1]
        return found, np.array(origin, np.int64)

    @cached_property
    def _sampled(self) -> NDArray[np.int64]:
        """Identities of the evaluation instances that are gone on with."""
        places = self.held.cut.places("evaluation")
        long = (self.held.labels[places] != IGNORED).sum(axis=1) >= self.prompt
        found: NDArray[np.int64] = places[long][: self.samples]
        return found

    def _written(self, model: nn.Module, inputs: Tensor) -> list[str]:
        """What a model writes behind the first tokens of some instances, (n, length), each token the most probable."""
        tokens = inputs[:, : self.prompt]
        for _ in range(self.written):
            most = self.logits(model, tokens[:, -self.length :])[:, -1].argmax(dim=1)
            tokens = torch.cat([tokens, most[:, None]], dim=1)
        return [self.held.pieces.text(row) for row in tokens[:, self.prompt :].tolist()]
