"""The search spaces of language, on data by path and in miniature."""

from pathlib import Path
from typing import Any

import pytest

from cc_ray.errors import InvalidRecipeError
from cc_ray.search import SearchSpace
from cc_ray.search.agenda import take_stock
from cc_ray.search.early_stopping import asha, contest_of
from cc_ray.search.plan import plan
from cc_ray.store import Store
from cc_ray.tasks import task_from_json
from cc_ray.tasks.causal_lm import CausalLM
from cc_ray.tasks.question_answering import QuestionAnswering
from cc_ray.tasks.text_classification import TextClassification
from cc_ray.trial import run_trial
from search_spaces import bert_text_classification, llama_causal_lm, t5_question_answering

SMALL = {"layers": 1, "width": 16, "heads": 2, "training": {"epochs": 1}}


def spaces(folder: Path) -> dict[str, SearchSpace]:
    for kind in (TextClassification, QuestionAnswering, CausalLM):
        kind.example(folder)
    small: dict[str, Any] = {"model": SMALL, "evaluation": None}
    return {
        "accuracy": bert_text_classification.search_space(str(folder / "animals.csv"), **small, length=32),
        "f1": t5_question_answering.search_space(str(folder / "owl.json"), **small, length=64),
        "perplexity": llama_causal_lm.search_space(
            str(folder / "stories.txt"), **small, separator="\n---\n", length=24, windows="first"
        ),
    }


@pytest.mark.parametrize("metric", ["accuracy", "f1", "perplexity"])
def test_the_spaces_plan(metric: str, tmp_path: Path) -> None:
    planned = plan(spaces(tmp_path)[metric], None)

    assert planned.trials > 8
    assert planned.shared > 0


@pytest.mark.parametrize("metric", ["accuracy", "f1", "perplexity"])
def test_the_deepest_recipe_runs(metric: str, tmp_path: Path) -> None:
    space, store = spaces(tmp_path)[metric], Store(tmp_path / "store", create=True)
    task = task_from_json({"task": space.task, "parameters": dict(space.task_parameters)})
    deepest = max(take_stock(space, store).to_run, key=lambda one: len(one.steps))
    assert len(deepest.steps) > 1

    made = run_trial(store, task, deepest)

    rows = store.read("metrics", keys={"step": made.model_id}).to_pylist()
    assert all(row["value"] >= 0 for row in rows if row["metric"] == metric)
    assert metric in {row["metric"] for row in rows}


def test_a_metric_of_other_answers_is_refused(tmp_path: Path) -> None:
    known = spaces(tmp_path)["perplexity"].to_json()

    with pytest.raises(InvalidRecipeError, match="'accuracy' cannot be taken from the answers of task 'causal_lm'"):
        plan(SearchSpace.from_json(known | {"objectives": {"accuracy": "higher"}}), None)


def test_early_stopping_listens_to_a_metric_of_the_tasks_answers(tmp_path: Path) -> None:
    space = spaces(tmp_path)["perplexity"].to_json()

    one, other = (
        SearchSpace(**{**vars(SearchSpace.from_json(space)), "early_stopping": asha(metric=metric)})
        for metric in ("perplexity", "accuracy")
    )

    assert contest_of(one) is not None
    with pytest.raises(InvalidRecipeError, match="perplexity"):
        contest_of(other)
