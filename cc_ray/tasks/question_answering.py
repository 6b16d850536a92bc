"""Questions on a text: models and data that the user names, in the format of SQuAD.

A model that is extractive names the first and the last token of the answer; one of text to text writes it.

Source: Rajpurkar et al., 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text"; Raffel et al., 2020,
"Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (how a question is put).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from tokenizers import Encoding
from torch import Tensor, nn

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.base import Data, task
from cc_ray.tasks.language.family import IGNORED, Held, LanguageTask, apart, mean_loss, texts_of, with_lengths
from cc_ray.tasks.language.pieces import Pieces
from cc_ray.tasks.sources import Rows, contents

_CLASSES: Final = {"extractive": "AutoModelForQuestionAnswering", "text_to_text": "AutoModelForSeq2SeqLM"}


@task("question_answering")
class QuestionAnswering(LanguageTask):
    """What a text answers to a question.

    Inputs are the question and the text behind it, cut off at `length` tokens. All questions on one text are in one
    split.
    """

    answers: ClassVar[str] = "texts"

    style: Literal["extractive", "text_to_text"] = "extractive"
    """Whether models name a part of the text, or write (encoder-decoders of transformers)."""
    question: str = "question"
    """Column of the questions."""
    context: str = "context"
    """Column of the texts."""
    answer: str = "answers"
    """Column of the accepted answers: as SQuAD has them (`text`, `answer_start`), a list of texts, or a text."""
    answer_length: Annotated[int, Field(ge=1)] = 30
    """Tokens of an answer at most."""

    @property
    def auto(self) -> str:
        """Class of transformers that makes models of the style."""
        return _CLASSES[self.style]

    @property
    def reads_pairs(self) -> bool:
        """Always: a question and a text."""
        return self.style == "extractive"

    @classmethod
    def example(cls, folder: Path) -> Self:
        """Thirty questions, each on its own sentence, and an encoder of one layer."""
        paragraphs = []
        for day in range(30):
            context, answer = f"On day {day} of the year the owl ate {7 * day} mice in the old barn.", f"{7 * day} mice"
            answers = [{"text": answer, "answer_start": context.index(answer)}]
            asked = {"question": "What did the owl eat?", "answers": answers}
            paragraphs.append({"context": context, "qas": [asked]})
        (folder / "owl.json").write_text(json.dumps({"data": [{"title": "owl", "paragraphs": paragraphs}]}), "utf-8")
        model = {"layers": 1, "width": 16, "heads": 2, "training": {"epochs": 1, "learning_rate": 0.01}}
        fields: dict[str, Any] = {
            "models": {"small": model},
            "sources": {"train": str(folder / "owl.json")},
            "tokenizer": {"vocabulary": 320},
            "length": 96,
            "slices": [{"column": "tokens", "edges": [40]}],
        }
        return cls.model_validate(fields)

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Scores of the first and the last place of the answer, (n, 2, length), or of tokens, (n, answer, vocabulary).

        A module that is not of transformers gives (n, length, 2).
        """
        if self.style == "text_to_text":
            return self._written(model, inputs)
        outputs = self.called(model, inputs)
        if isinstance(outputs, Tensor):
            return outputs.transpose(1, 2)
        return torch.stack([outputs.start_logits, outputs.end_logits], dim=1)

    def places(self, inputs: Tensor) -> Sequence[Tensor]:
        """Of models that write, the places of the question and the text, and those of the answer."""
        if self.style == "extractive":
            return super().places(inputs)
        return self.real(inputs[:, : self._asked]), self.real(inputs[:, self._asked :])

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        """Mean of -ln p of the first and last places, or of the answer's tokens, in nats."""
        return mean_loss(self.logits(model, inputs), labels)

    def texts(self, model: nn.Module, batch: Data, logits: Tensor) -> Sequence[str]:
        """The most probable part of each text that is not too long, or what the model writes."""
        if self.style == "extractive":
            return [self._part(*pair) for pair in zip(batch.instances.tolist(), logits.cpu(), strict=True)]
        asked = batch.inputs[:, : self._asked]
        there = (asked != self.held.pieces.padding).long()
        writes: Any = model
        tokens = writes.generate(
            input_ids=asked, attention_mask=there, max_new_tokens=self.answer_length, do_sample=False, num_beams=1
        )
        return [self.held.pieces.text(row).strip() for row in tokens.tolist()]

    def references(self, instances: Tensor) -> Sequence[Sequence[str]]:
        """Accepted answers."""
        return [self.held.known["references"][place] for place in instances.tolist()]

    def token_losses(self, logits: Tensor, labels: Tensor) -> Tensor | None:
        """-ln p of the answer's tokens, (n, answer), in nats, NaN behind its end; None of extractive models."""
        if self.style == "extractive":
            return None
        # As rows: of more axes a GPU knows no way that gives the same bits each time.
        rows = logits.flatten(0, 1), labels.flatten()
        losses = nn.functional.cross_entropy(*rows, ignore_index=IGNORED, reduction="none").view(labels.shape)
        return losses.masked_fill(labels == IGNORED, torch.nan)

    def read(self) -> Held:
        """Read the questions.

        Raises:
            InvalidRecipeError: If a file or column is not as it should be, or a split stays empty.
        """
        parts = self.sources.read()
        rows = Rows.joined(parts)
        questions, texts = texts_of(rows, self.question), texts_of(rows, self.context)
        answers = [_accepted(value, self.answer) for value in rows.column(self.answer).to_pylist()]
        cut = self.sources.cut([len(part) for part in parts], contents(text.encode() for text in texts))
        pieces = self.pieces([f"{questions[place]} {texts[place]}" for place in cut.places("train")])
        prepare = self._extracted if self.style == "extractive" else self._translated
        inputs, labels, lengths, extra = prepare(pieces, questions, texts, answers)
        return Held(
            pieces,
            inputs,
            labels,
            apart(cut, inputs),
            with_lengths(rows.columns.drop_columns([self.answer]), lengths),
            {
                "payload": [f"{question}\n\n{text}".encode() for question, text in zip(questions, texts, strict=True)],
                "references": [accepted for accepted, _ in answers],
            },
            extra=extra,
        )

    def _extracted(
        self, pieces: Pieces, questions: list[str], texts: list[str], answers: list[Accepted]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int], dict[str, Any]]:
        encodings = pieces.encoded(list(zip(questions, texts, strict=True)), self.length)
        inputs = pieces.padded([encoding.ids for encoding in encodings])
        spans = np.zeros((*inputs.shape, 2), np.int32)
        labels = np.full((len(inputs), 2), IGNORED, np.int64)
        for place, encoding in enumerate(encodings):
            own = np.array([part == 1 for part in encoding.sequence_ids], bool)
            spans[place, : len(own)][own] = np.array(encoding.offsets, np.int32)[own]
            labels[place] = _places(spans[place], *_found(texts[place], answers[place]))
        return inputs, labels, [len(encoding.ids) for encoding in encodings], {"spans": spans, "texts": texts}

    def _translated(
        self, pieces: Pieces, questions: list[str], texts: list[str], answers: list[Accepted]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int], dict[str, Any]]:
        put = [f"question: {question} context: {text}" for question, text in zip(questions, texts, strict=True)]
        asked: list[Encoding] = pieces.encoded(put, self.length)
        end = [] if pieces.end is None else [pieces.end]
        said = pieces.encoded([accepted[0] for accepted, _ in answers], special=False)
        wanted = [[*encoding.ids[: self.answer_length - len(end)], *end] for encoding in said]
        labels = pieces.padded(wanted, IGNORED)
        # The decoder sees each token's predecessor; behind what begins all answers, which its configuration says.
        before = pieces.padded([[pieces.padding, *row[:-1]] for row in wanted])
        inputs = np.concatenate([pieces.padded([encoding.ids for encoding in asked]), before], axis=1)
        return inputs, labels, [len(encoding.ids) for encoding in asked], {}

    @property
    def _asked(self) -> int:
        """Places of an input that hold the question and the text; the answer's stand behind them."""
        return int(self.held.inputs.shape[1] - self.held.labels.shape[1])

    def _written(self, model: nn.Module, inputs: Tensor) -> Tensor:
        before = inputs[:, self._asked :].clone()
        before[:, 0] = getattr(model, "config").decoder_start_token_id  # noqa: B009
        outputs = self.called(model, inputs[:, : self._asked], decoder_input_ids=before)
        return outputs.logits  # type: ignore[no-any-return]

    def _part(self, place: int, scores: Tensor) -> str:
        """The part of a text whose first and last place have the largest sum of scores, (2, length)."""
        spans = self.held.extra["spans"][place]
        own = torch.from_numpy(spans[:, 1] > 0)
        first, last = scores.double().masked_fill(~own, -torch.inf)
        sums = first[:, None] + last[None, :]
        near = torch.ones_like(sums, dtype=torch.bool).triu() & ~torch.ones_like(sums, dtype=torch.bool).triu(
            self.answer_length
        )
        best = int(sums.masked_fill(~near, -torch.inf).argmax())
        begin, end = spans[best // len(spans)][0], spans[best % len(spans)][1]
        return str(self.held.extra["texts"][place][begin:end]).strip()


Accepted = tuple[list[str], int | None]
"""Accepted answers to a question, and where in the text the first one begins, if that is known."""


def _accepted(value: Any, column: str) -> Accepted:
    texts, start = value, None
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        start = int(starts[0]) if starts else None
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidRecipeError(
            f"column '{column}' holds {str(value)[:80]!r}, no accepted answer: give a text, a list of texts, or `text` "
            "and `answer_start` as SQuAD has them, and leave out questions that have none."
        )
    return texts, start


def _found(text: str, accepted: Accepted) -> tuple[int, int]:
    """Where the first accepted answer begins and ends in a text; before its beginning where it is not in it."""
    answer, start = accepted[0][0], accepted[1]
    begin = text.find(answer) if start is None else start
    return begin, begin + len(answer)


def _places(spans: NDArray[np.int32], begin: int, end: int) -> tuple[int, int]:
    """First and last token of a part of a text, (length, 2) characters; both ignored where it was cut off."""
    inside = np.flatnonzero((spans[:, 1] > begin) & (spans[:, 0] < end) & (spans[:, 1] > 0))
    if begin < 0 or not inside.size or spans[inside[-1], 1] < end:
        return IGNORED, IGNORED
    return int(inside[0]), int(inside[-1])
