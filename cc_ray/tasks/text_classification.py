"""Texts of classes: models and data that the user names."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from cc_ray.tasks.base import task
from cc_ray.tasks.language.family import Held, LanguageTask, apart, texts_of, with_lengths
from cc_ray.tasks.sources import Rows, class_labels, contents


@task("text_classification")
class TextClassification(LanguageTask):
    """Which class a text, or a pair of texts, is of."""

    auto: ClassVar[str] = "AutoModelForSequenceClassification"

    text: str = "text"
    """Column of the texts."""
    pair: str | None = None
    """Column of second texts, where two are read together."""
    label: str = "label"
    """Column of the true classes."""
    classes: tuple[str, ...] = ()
    """Names of the classes in the order of the models' outputs; if left out, what the data says."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """`classes`, or what the data says."""
        return self.classes or self.held.class_names

    @property
    def reads_pairs(self) -> bool:
        """Whether there is a column of second texts."""
        return self.pair is not None

    @classmethod
    def example(cls, folder: Path) -> Self:
        """Sixty sentences on three animals, and an encoder of one layer."""
        with (folder / "animals.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            for place in range(60):
                animal = ("cat", "dog", "owl")[place % 3]
                writer.writerow([f"On day {place} of the year the {animal} sat there and looked at me.", animal])
        model = {"layers": 1, "width": 16, "heads": 2, "training": {"epochs": 1, "learning_rate": 0.01}}
        fields: dict[str, Any] = {
            "models": {"small": model},
            "sources": {"train": str(folder / "animals.csv")},
            "tokenizer": {"vocabulary": 320},
            "slices": [{"column": "tokens", "edges": [20]}],
        }
        return cls.model_validate(fields)

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Unnormalised class scores, (n, classes)."""
        outputs = self.called(model, inputs)
        return outputs if isinstance(outputs, Tensor) else outputs.logits

    def read(self) -> Held:
        """Read the texts.

        Raises:
            InvalidRecipeError: If a file or column is not as it should be, or a split stays empty.
        """
        parts = self.sources.read()
        rows = Rows.joined(parts)
        texts = texts_of(rows, self.text)
        seconds = None if self.pair is None else texts_of(rows, self.pair)
        shown = texts if seconds is None else [f"{one}\n\n{other}" for one, other in zip(texts, seconds, strict=True)]
        labels, names = class_labels(rows, self.label, self.classes)
        cut = self.sources.cut([len(part) for part in parts], contents(text.encode() for text in shown))
        pieces = self.pieces([shown[place] for place in cut.places("train")])
        read: list[str] | list[tuple[str, str]] = texts if seconds is None else list(zip(texts, seconds, strict=True))
        rows_of_tokens = [encoding.ids for encoding in pieces.encoded(read, self.length)]
        inputs = pieces.padded(rows_of_tokens)
        return Held(
            pieces,
            inputs,
            labels,
            apart(cut, inputs),
            with_lengths(rows.columns, [len(row) for row in rows_of_tokens]),
            {
                "label": labels.tolist(),
                "label_name": [names[label] for label in labels],
                "payload": [text.encode() for text in shown],
            },
            names,
        )
