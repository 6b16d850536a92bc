from collections import Counter

import pytest
from torch import nn

from cc_ray.search import SearchSpace, choice, recipe, step
from cc_ray.search.agenda import take_stock
from cc_ray.search.load import load_space
from cc_ray.search.plan import plan
from cc_ray.tasks.digits import Digits

TUNED = recipe(choice("resnet", "vit"), [step("fine_tune", epochs=1)])


def test_a_study_has_baselines_of_each_base_model_unless_it_wants_none() -> None:
    agenda = take_stock(SearchSpace("s", "digits", [TUNED], seeds=[3, 4]), None)

    found = Counter((recipe.base, recipe.steps[0].operation if recipe.steps else "") for recipe in agenda.to_run[:14])
    assert found == {
        (base, operation): count
        for base in ("resnet", "vit")
        for operation, count in (
            ("", 1), ("random_pruning", 2), ("magnitude_pruning", 2), ("uniform_quantization", 2)
        )
    }  # fmt: skip
    assert {recipe.seed for recipe in agenda.to_run[:14]} == {3}
    assert agenda.count == 14 + 4
    assert plan(SearchSpace("s", "digits", [TUNED], baselines=False), None).trials == 2


def test_baselines_are_no_samples_of_a_search() -> None:
    for method in ("random", "tpe", "nsga2"):
        agenda = take_stock(SearchSpace("s", "digits", [TUNED], method=method, samples=2), None)
        assert agenda.count == 14 + 2


def test_the_demo_has_them_among_its_recipes() -> None:
    with_them, without = (
        plan(SearchSpace.from_json({**load_space("digits").to_json(), "baselines": wanted}), None).unique_steps
        for wanted in (True, False)
    )

    assert with_them == without


def test_those_that_do_not_apply_to_a_base_model_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Digits, "build", lambda task, base: nn.Sequential(nn.Flatten(), nn.GRU(64, 10)))

    agenda = take_stock(SearchSpace("s", "digits", [recipe("resnet")]), None)

    assert [str(recipe) for recipe in agenda.to_run] == ["resnet"]
