"""Small transformers that are made here, of the library transformers, and trained from nothing.

Source: Devlin et al., 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"
(encoders); Touvron et al., 2023, "Llama 2: Open Foundation and Fine-Tuned Chat Models" (decoders); Raffel et al., 2020,
"Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer" (both).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator
from torch import nn

from cc_ray.tasks.bases.base import Base


class SmallTransformer(Base):
    """A transformer of some layers: BERT's encoder, Llama's decoder or T5's both, as the task needs."""

    layers: Annotated[int, Field(ge=1, le=64)]
    """Number of blocks; of an encoder and a decoder each."""
    width: Annotated[int, Field(ge=8)]
    """Length of the vector of a token."""
    heads: Annotated[int, Field(ge=1)]
    """Heads of attention; they divide the width."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of values that training drops; Llama's decoder drops none."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is no multiple of 2 x {self.heads} heads")
        return self

    @property
    def trained(self) -> bool:
        """Never."""
        return False

    def addresses(self) -> tuple[str, ...]:
        """None."""
        return ()

    def identifying(self) -> dict[str, Any]:
        """All fields."""
        return self.model_dump(mode="json")

    def make(self, *, auto: str = "AutoModelForSequenceClassification", **given: Any) -> nn.Module:
        """Make it.

        Args:
            auto: Class of transformers that makes models for the task.
            **given: `vocabulary`, `padding`, `end`, `length` and `classes`.
        """
        # Imported here: it takes a second, and only these base models need it.
        import transformers

        config = _CONFIGS[auto](self, transformers, **given)
        return getattr(transformers, auto).from_config(config)  # type: ignore[no-any-return]

    def load(self, model: nn.Module) -> nn.Module:
        """Leave it as it is: there are no weights."""
        return model


def _encoder(
    small: SmallTransformer, library: Any, vocabulary: int, padding: int, length: int, classes: int | None, **_: Any
) -> Any:
    return library.BertConfig(
        vocab_size=vocabulary,
        hidden_size=small.width,
        num_hidden_layers=small.layers,
        num_attention_heads=small.heads,
        intermediate_size=4 * small.width,
        hidden_dropout_prob=small.dropout,
        attention_probs_dropout_prob=small.dropout,
        max_position_embeddings=length,
        pad_token_id=padding,
        # 1 / sqrt(width): at the usual 0.02 so narrow a model hardly learns.
        initializer_range=small.width**-0.5,
        **({} if classes is None else {"num_labels": classes}),
    )


def _decoder(small: SmallTransformer, library: Any, vocabulary: int, length: int, end: int | None, **_: Any) -> Any:
    return library.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=small.width,
        num_hidden_layers=small.layers,
        num_attention_heads=small.heads,
        intermediate_size=8 * small.width // 3,
        max_position_embeddings=length,
        tie_word_embeddings=True,
        eos_token_id=end,
        initializer_range=small.width**-0.5,
    )


def _both(small: SmallTransformer, library: Any, vocabulary: int, padding: int, end: int | None, **_: Any) -> Any:
    return library.T5Config(
        vocab_size=vocabulary,
        d_model=small.width,
        d_kv=small.width // small.heads,
        d_ff=4 * small.width,
        num_layers=small.layers,
        num_heads=small.heads,
        dropout_rate=small.dropout,
        pad_token_id=padding,
        eos_token_id=end,
        decoder_start_token_id=padding,
    )


_CONFIGS: Final[Mapping[str, Callable[..., Any]]] = {
    "AutoModelForSequenceClassification": _encoder,
    "AutoModelForQuestionAnswering": _encoder,
    "AutoModelForCausalLM": _decoder,
    "AutoModelForSeq2SeqLM": _both,
}
