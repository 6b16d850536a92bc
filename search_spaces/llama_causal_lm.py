"""How small can a language model become before it loses the thread?

A Llama is read from a folder, as `save_pretrained` writes it, or fetched from the hub, and pruned and rounded with all
its embeddings (which are tied where the model ties them), repaired or not. The data are text, CSV, Parquet or JSON
files, by default those of a folder `data`:

    cc-ray run search_spaces/llama_causal_lm.py

For other files or models write three lines of your own:

    from search_spaces import llama_causal_lm

    def search_space():
        return llama_causal_lm.search_space(train="train.txt", evaluation="test.txt", separator="<|endoftext|>")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cc_ray.search import SearchSpace, choice, either, optional, recipe, step

LLAMA: Final = {"transformers": "hf://HuggingFaceTB/SmolLM2-135M"}
SMALL: Final = {
    "layers": 4,
    "width": 128,
    "heads": 4,
    "training": {"epochs": 3, "learning_rate": 2e-3, "batch_size": 16},
}
"""A small one that is trained from nothing: what is needed where there is no network."""
ALL: Final = ("model.embed_tokens.weight", "model.layers")
"""Every matrix of a model whose embeddings are tied; norms stay as they are."""
TUNE: Final = {"epochs": 1, "learning_rate": 1e-4, "batch_size": 8}
"""How training repairs what pruning broke."""


def search_space(
    train: str = "data/train.txt",
    evaluation: str | None = "data/test.txt",
    model: Mapping[str, Any] = LLAMA,
    separator: str | None = None,
    length: int = 512,
    windows: str = "all",
    tune: Mapping[str, Any] = TUNE,
) -> SearchSpace:
    """Recipes between perplexity and size.

    Args:
        train: Address of the texts that training repairs with; a part is kept for calibration.
        evaluation: Address of the texts that models are judged by; None cuts off a part of the others.
        model: The base model, such as `LLAMA` or `SMALL`.
        separator: What stands between the documents of a text.
        length: Tokens of a window at most.
        windows: `all` of a document, or its `first` one.
        tune: How training repairs what pruning broke.
    """
    repair = step("fine_tune", **tune)
    return SearchSpace(
        name="llama_causal_lm",
        task="causal_lm",
        task_parameters={
            "models": {"llama": dict(model)},
            "sources": {"train": train, "evaluation": evaluation},
            "separator": separator,
            "length": length,
            "windows": windows,
            "slices": [{"column": "tokens", "edges": [length // 4, length // 2]}],
        },
        recipes=[
            recipe("llama"),
            recipe("llama", [step("uniform_quantization", bits=choice(8, 4, 3), include=ALL)]),
            # Of these the first leaves embeddings as they are: its kernels multiply, and those are looked up.
            recipe("llama", [either(step("quantize_int4"), step("quantize_float8", include=ALL))]),
            recipe("llama", [step("magnitude_pruning", sparsity=choice(0.3, 0.5), include=ALL), optional(repair)]),
            recipe(
                "llama",
                [
                    step("magnitude_pruning", sparsity=0.3, include=ALL),
                    repair,
                    step("magnitude_pruning", sparsity=choice(0.5, 0.6), include=ALL),
                    repair,
                    step("uniform_quantization", bits=choice(8, 4), include=ALL),
                ],
            ),
        ],
        objectives={"perplexity": "lower", "size_bytes": "lower", "token_accuracy": "higher"},
        # Rounding and pruning that leave the embeddings out are no rivals: they are most of a small model.
        baselines=False,
    )
