"""How small can a reader of texts become before it takes one class for another?

BERT (https://huggingface.co/google-bert/bert-base-uncased) is fetched from the hub and trained on the train split, then
pruned, repaired and rounded. The data are CSV or Parquet files with the columns `text` and `label`, by default those of
a folder `data`:

    cc-ray run search_spaces/bert_text_classification.py

For other files, columns or models write three lines of your own:

    from search_spaces import bert_text_classification

    def search_space():
        return bert_text_classification.search_space(train="train.csv", evaluation="test.csv", label="category")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cc_ray.search import SearchSpace, choice, either, optional, recipe, step

BERT: Final = {
    "transformers": "hf://google-bert/bert-base-uncased",
    "training": {"epochs": 3, "learning_rate": 5e-5, "batch_size": 32},
}
SMALL: Final = {
    "layers": 2,
    "width": 128,
    "heads": 4,
    "training": {"epochs": 20, "learning_rate": 1e-3, "batch_size": 64},
}
"""A small encoder that is trained from nothing: what is needed where there is no network."""
TUNE: Final = {"epochs": 1, "learning_rate": 2e-5}
"""How training repairs what pruning broke."""


def search_space(
    train: str = "data/train.csv",
    evaluation: str | None = "data/test.csv",
    text: str = "text",
    label: str = "label",
    model: Mapping[str, Any] = BERT,
    length: int = 128,
    tune: Mapping[str, Any] = TUNE,
) -> SearchSpace:
    """Recipes between accuracy, size and latency.

    Args:
        train: Address of the data that the model is trained on; a part is kept for calibration.
        evaluation: Address of the data that it is judged by; None cuts off a part of the other.
        text: Column of the texts.
        label: Column of the classes.
        model: The base model, such as `BERT` or `SMALL`.
        length: Tokens of a text at most.
        tune: How training repairs what pruning broke.
    """
    repair = step("fine_tune", **tune)
    return SearchSpace(
        name="bert_text_classification",
        task="text_classification",
        task_parameters={
            "models": {"bert": dict(model)},
            "sources": {"train": train, "evaluation": evaluation},
            "text": text,
            "label": label,
            "length": length,
            "slices": [{"column": "tokens", "edges": [12, 24]}],
        },
        recipes=[
            recipe("bert"),
            recipe("bert", [step("uniform_quantization", bits=choice(8, 4, 3))]),
            recipe("bert", [either(step("quantize_weights"), step("quantize_dynamic"))]),
            recipe("bert", [either(step("quantize_int4"), step("quantize_float8"))]),
            recipe("bert", [step("magnitude_pruning", sparsity=choice(0.5, 0.7, 0.9)), optional(repair)]),
            recipe(
                "bert",
                [
                    step("magnitude_pruning", sparsity=0.5),
                    repair,
                    step("magnitude_pruning", sparsity=choice(0.7, 0.8)),
                    repair,
                    step("uniform_quantization", bits=choice(8, 4)),
                ],
            ),
        ],
        objectives={"accuracy": "higher", "size_bytes": "lower", "latency_p50_ms": "lower"},
    )
