"""Tiny transformers of several kinds, and a task of words that they all answer."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForSequenceClassification,
)

from cc_ray.compress import Context, Outcome, apply_step
from cc_ray.recipe import Step
from cc_ray.tasks import Data, Split
from tests.compress.tiny import Tiny
from tests.seeds import drawn_from

WORDS = 20
END = 1


def gpt2() -> nn.Module:
    """Tied embeddings, `Conv1D`, queries, keys and values in one layer."""
    ends = {"bos_token_id": END, "eos_token_id": END}
    model: nn.Module = GPT2LMHeadModel(
        GPT2Config(vocab_size=WORDS, n_positions=16, n_embd=16, n_layer=3, n_head=4, **ends)
    )
    return model


def llama() -> nn.Module:
    """Tied embeddings, gated blocks, two query heads for each head of keys and values."""
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4}
    model: nn.Module = LlamaForCausalLM(
        LlamaConfig(vocab_size=WORDS, num_key_value_heads=2, tie_word_embeddings=True, **sizes)
    )
    return model


def bert() -> nn.Module:
    """The projection of what heads give stands beside them."""
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4}
    model: nn.Module = BertForSequenceClassification(BertConfig(vocab_size=WORDS, num_labels=4, **sizes))
    return model


def t5() -> nn.Module:
    """The first block makes the position biases of all."""
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4}
    ends = {"pad_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": END}
    model: nn.Module = T5ForSequenceClassification(T5Config(vocab_size=WORDS, num_labels=4, **sizes, **ends))
    return model


BUILD: dict[str, Callable[[], nn.Module]] = {"gpt2": gpt2, "llama": llama, "bert": bert, "t5": t5}


def build(name: str) -> nn.Module:
    """One of them, with weights that are always the same."""
    with drawn_from(0):
        return BUILD[name]().eval()


class Words(Tiny):
    """Eight words and an end; the first word says which class is right."""

    def data(self, split: Split) -> Data:
        generator = torch.Generator().manual_seed(len(split))
        inputs = torch.randint(2, WORDS, (32, 8), generator=generator)
        inputs[:, -1] = END
        return Data(inputs, inputs[:, 0] % 4, torch.arange(32))

    def logits(self, model: nn.Module, inputs: Tensor) -> Tensor:
        scores: Tensor = model(inputs).logits
        return scores[:, -1, :4] if scores.dim() == 3 else scores


Words.name = "words"
WORDS_TASK = Words()


def run(operation: str, model: nn.Module, **parameters: object) -> Outcome:
    """Apply one operation."""
    return apply_step(Step(operation, parameters), model, Context(WORDS_TASK, 0, lambda index: model))


def outputs(model: nn.Module) -> Tensor:
    """Class scores on the evaluation split."""
    with torch.no_grad():
        return WORDS_TASK.logits(model, WORDS_TASK.data("evaluation").inputs)
