"""Known models and data of language: what pruning and rounding cost is what they cost elsewhere."""

from pathlib import Path
from typing import Any, Final

import pytest

from cc_ray.compress import Context, apply_step, validated_recipe
from cc_ray.evaluate.metrics.perplexity import loss_per_token
from cc_ray.evaluate.predictions import predict
from cc_ray.recipe import Recipe, Step
from cc_ray.store import Store
from cc_ray.tasks import Task, task_from_json
from cc_ray.trial import ensure_task, run_step
from search_spaces import bert_text_classification, llama_causal_lm, t5_question_answering

DATA: Final = Path(__file__).parents[2].parent / "shared" / "data"
STORIES, TEXTS = DATA / "stories260k", DATA / "text"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.exists(), reason="the real models and data are not on this machine"),
]


def stories(folder: Path) -> Task:
    """The Llama of 260,032 parameters on the first 100 stories, of each the first 511 tokens."""
    found = (STORIES / "tinystories_part1.txt").read_text("utf-8").split("<|endoftext|>")
    held = [text for each in found if (text := each.strip())]
    for name, part in {"evaluation": held[:100], "train": held[100:150]}.items():
        (folder / f"{name}.txt").write_text("\n<|endoftext|>\n".join(part), "utf-8")
    space = llama_causal_lm.search_space(
        str(folder / "train.txt"),
        str(folder / "evaluation.txt"),
        {"transformers": str(STORIES / "hf")},
        separator="<|endoftext|>",
        length=511,
        windows="first",
    )
    return task_from_json({"task": space.task, "parameters": {**space.task_parameters, "samples": 0}})


@pytest.mark.parametrize(
    ("operation", "parameters", "nats"),
    [
        (None, {}, 1.4076),
        ("magnitude_pruning", {"sparsity": 0.3}, 2.131),
        ("magnitude_pruning", {"sparsity": 0.5}, 4.631),
        ("magnitude_pruning", {"sparsity": 0.7}, 7.038),
        ("uniform_quantization", {"bits": 8}, 1.408),
        ("uniform_quantization", {"bits": 4}, 1.627),
        ("uniform_quantization", {"bits": 3}, 3.708),
    ],
)
def test_stories_cost_what_they_cost_elsewhere(
    operation: str | None, parameters: dict[str, Any], nats: float, tmp_path: Path
) -> None:
    task = stories(tmp_path)
    model: Any = task.train("llama", 0)
    if operation is not None:
        step = Step(operation, {**parameters, "include": llama_causal_lm.ALL})
        (step,) = validated_recipe(Recipe("llama", (step,)), task.bases).steps
        model = apply_step(step, model, Context(task, 0, lambda _: model)).model

    answers = predict(task, model, task.data("evaluation"))

    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert answers.tokens.sum() == 37_072
    assert loss_per_token(answers.losses, answers.tokens).value == pytest.approx(nats, rel=5e-4)
    if operation is None:
        assert answers.hits.sum() / 37_072 == pytest.approx(0.6159, abs=1e-4)


def test_a_small_encoder_learns_the_intents_of_customers_and_outlives_a_recipe(tmp_path: Path) -> None:
    space = bert_text_classification.search_space(
        str(TEXTS / "banking77" / "train.csv"),
        str(TEXTS / "banking77" / "test.csv"),
        label="category",
        length=48,
        model=bert_text_classification.SMALL,
    )

    found = outlived(space.task, space.task_parameters, "bert", "accuracy", tmp_path, epochs=2, learning_rate=1e-3)

    # Of 77 intents 88.4 % were found, 87.2 % with half of the weights, 79.7 % with a quarter, 88.0 % at the end.
    assert found[0] > 0.85
    assert found[3] < found[1] < found[0]
    assert found[-1] > found[0] - 0.03


def test_a_small_encoder_learns_where_answers_stand_and_outlives_a_recipe(tmp_path: Path) -> None:
    space = t5_question_answering.search_space(
        str(TEXTS / "xquad" / "xquad.en.json"), None, t5_question_answering.SMALL, length=256, style="extractive"
    )

    found = outlived(space.task, space.task_parameters, "t5", "f1", tmp_path, epochs=1, learning_rate=5e-4)

    # A thousand questions teach a model that begins from nothing little more than which places are likely.
    assert found[0] > 0.02
    assert found[-1] > 0.01


def outlived(
    task: str, parameters: Any, base: str, metric: str, folder: Path, *, epochs: int, learning_rate: float
) -> list[float]:
    """A metric after each step of a recipe of five: prune, repair, prune further, repair, round."""
    made = task_from_json({"task": task, "parameters": dict(parameters)})
    repair = Step("fine_tune", {"epochs": epochs, "learning_rate": learning_rate})
    steps = (
        Step("magnitude_pruning", {"sparsity": 0.5}),
        repair,
        Step("magnitude_pruning", {"sparsity": 0.75}),
        repair,
        Step("uniform_quantization", {"bits": 4}),
    )
    recipe, store, found = validated_recipe(Recipe(base, steps), made.bases), Store(folder / "store", create=True), []
    ensure_task(store, made)
    for index in range(len(steps) + 1):
        model_id = run_step(store, made, recipe, index).model_id
        rows = store.read("metrics", keys={"step": model_id}).to_pylist()
        found += [row["value"] for row in rows if row["metric"] == metric and row["slice"] == "all"]
    return found
