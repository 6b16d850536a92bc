"""How small can a model become that answers questions on a text in its own words?

T5 (https://huggingface.co/google-t5/t5-small) is fetched from the hub; it knows how to answer questions, so it is not
trained before it is pruned, repaired and rounded. The data are files in the format of SQuAD, by default those of a
folder `data`:

    cc-ray run search_spaces/t5_question_answering.py

For other files or models write three lines of your own:

    from search_spaces import t5_question_answering

    def search_space():
        return t5_question_answering.search_space(train="train-v1.1.json", evaluation="dev-v1.1.json")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cc_ray.search import SearchSpace, choice, optional, recipe, step

T5: Final = {"transformers": "hf://google-t5/t5-small"}
SMALL: Final = {
    "layers": 2,
    "width": 128,
    "heads": 4,
    "training": {"epochs": 20, "learning_rate": 2e-3, "batch_size": 32},
}
"""A small one that is trained from nothing: what is needed where there is no network. Few questions teach it little."""
TUNE: Final = {"epochs": 1, "learning_rate": 1e-4, "batch_size": 16}
"""How training repairs what pruning broke."""


def search_space(
    train: str = "data/train-v1.1.json",
    evaluation: str | None = "data/dev-v1.1.json",
    model: Mapping[str, Any] = T5,
    length: int = 384,
    style: str = "text_to_text",
    tune: Mapping[str, Any] = TUNE,
) -> SearchSpace:
    """Recipes between exact match, F1 and size.

    Args:
        train: Address of the questions that training repairs with; a part is kept for calibration.
        evaluation: Address of the questions that models are judged by; None cuts off a part of the others.
        model: The base model, such as `T5` or `SMALL`.
        length: Tokens of a question and its text at most.
        style: `text_to_text`, or `extractive` for models that name a part of the text.
        tune: How training repairs what pruning broke.
    """
    repair = step("fine_tune", **tune)
    return SearchSpace(
        name="t5_question_answering",
        task="question_answering",
        task_parameters={
            "models": {"t5": dict(model)},
            "sources": {"train": train, "evaluation": evaluation},
            "style": style,
            "length": length,
            "slices": [{"column": "tokens", "edges": [128, 256]}],
        },
        recipes=[
            recipe("t5"),
            recipe("t5", [step("uniform_quantization", bits=choice(8, 6, 4))]),
            recipe("t5", [step("magnitude_pruning", sparsity=choice(0.3, 0.5, 0.7)), optional(repair)]),
            recipe(
                "t5",
                [
                    step("magnitude_pruning", sparsity=0.3),
                    repair,
                    step("magnitude_pruning", sparsity=choice(0.5, 0.6)),
                    repair,
                    step("uniform_quantization", bits=choice(8, 6)),
                ],
            ),
        ],
        objectives={"exact_match": "higher", "f1": "higher", "size_bytes": "lower"},
    )
