"""Tokenizers: texts as numbers of pieces of words, by a file that came with a model or learnt from a train split.

Source: Sennrich et al., 2016, "Neural Machine Translation of Rare Words with Subword Units" (byte-pair encoding);
Radford et al., 2019, "Language Models are Unsupervised Multitask Learners" (of bytes).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Encoding, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.sources import located

# A step has its own share of the cores, and its processes fork.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

FILE: Final = "tokenizer.json"
ROLES: Final = {"padding": ("pad_token",), "begin": ("bos_token", "cls_token"), "end": ("eos_token", "sep_token")}
"""What `tokenizer_config.json` calls the special tokens, by what they are here."""
_SPECIAL: Final = ("<pad>", "<s>", "</s>")

Tokens = NDArray[np.int64]


class Subwords(BaseModel):
    """A tokenizer that is learnt from the train split: pieces of words made of bytes, so that no text is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    vocabulary: Annotated[int, Field(ge=300)] = 2000
    """Number of different pieces; 256 of them are the bytes."""
    lowercase: bool = False
    """Whether upper case is dropped."""

    def learnt(self, texts: Iterator[str]) -> Pieces:
        """Learn the pieces; the same texts give the same."""
        tokenizer = Tokenizer(models.BPE())
        if self.lowercase:
            tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocabulary,
            special_tokens=list(_SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
        return Pieces(tokenizer, padding=0, begin=1, end=2)


@dataclass(frozen=True)
class Pieces:
    """A tokenizer and the numbers of its special tokens."""

    tokenizer: Tokenizer
    padding: int
    """Fills sequences up to one length."""
    begin: int | None
    """Stands before a text."""
    end: int | None
    """Stands behind a text, and between two."""

    @classmethod
    def read(cls, folder: str) -> Pieces:
        """Read the tokenizer of a model's folder, or of `hf://OWNER/NAME`.

        Raises:
            InvalidRecipeError: If there is no `tokenizer.json`, or it cannot be read.
        """
        path = located(f"{folder.rstrip('/')}/{FILE}").paths[0]
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # The library raises nothing more special.
            raise InvalidRecipeError(f"'{path}' is no tokenizer that can be read: {error}") from error
        said = path.with_name("tokenizer_config.json")
        roles = json.loads(said.read_text("utf-8")) if said.is_file() else {}
        found = {role: _number(tokenizer, roles, names) for role, names in ROLES.items()}
        padding = next((number for number in (found["padding"], found["end"]) if number is not None), 0)
        return cls(tokenizer, padding, found["begin"], found["end"])

    @property
    def size(self) -> int:
        """Number of different tokens."""
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    def encoded(
        self, texts: Sequence[str] | Sequence[tuple[str, str]], length: int | None = None, *, special: bool = True
    ) -> list[Encoding]:
        """Texts or pairs of texts as tokens.

        Args:
            texts: The texts.
            length: Tokens that are kept of each, special ones included; of a pair the second text is cut off. None
                keeps all.
            special: Add the special tokens that the tokenizer puts around texts.
        """
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        if length is not None:
            pairs = bool(texts) and not isinstance(texts[0], str)
            self.tokenizer.enable_truncation(length, strategy="only_second" if pairs else "longest_first")
        try:
            found: list[Encoding] = self.tokenizer.encode_batch(list(texts), add_special_tokens=special)
        except Exception as error:  # As above: a first text that is longer than all that is kept.
            raise InvalidRecipeError(
                f"texts cannot be cut to {length} tokens: {error}. Give a larger `length`."
            ) from error
        return found

    def padded(self, rows: Sequence[Sequence[int]], filler: int | None = None) -> Tokens:
        """Rows of numbers brought to one length, (n, longest)."""
        found = np.full(
            (len(rows), max(map(len, rows), default=0)), self.padding if filler is None else filler, np.int64
        )
        for place, row in enumerate(rows):
            found[place, : len(row)] = row
        return found

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as text, without special ones."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def texts(self, tokens: Sequence[int]) -> list[str]:
        """Each token as text: what it adds to those before it."""
        # A decoder drops what stands at the very beginning, such as a space: so every token is read behind another.
        first = self.text(tokens[:1])
        return [first, *(self._added(before, token) for before, token in pairwise(tokens))]

    def _added(self, before: int, token: int) -> str:
        both, first = (
            str(self.tokenizer.decode(tokens, skip_special_tokens=False)) for tokens in ([before, token], [before])
        )
        return both.removeprefix(first)


def _number(tokenizer: Tokenizer, roles: dict[str, Any], names: Sequence[str]) -> int | None:
    for name in names:
        token = roles.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and (number := tokenizer.token_to_id(token)) is not None:
            return int(number)
    return None
