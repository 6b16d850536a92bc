from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cc_ray.recipe import Recipe, Step
from cc_ray.search import SearchSpace, at_most, choice, integer, optional, recipe, step, uniform
from cc_ray.search.guided import Guided
from cc_ray.search.matching import answers_for
from cc_ray.search.sampling import listed
from cc_ray.search.space import Method

SPACE = SearchSpace(
    "s",
    "digits",
    [
        recipe(
            choice("resnet", "vit"),
            [
                step("magnitude_pruning", sparsity=uniform(0.1, 0.9)),
                optional(step("restore", include=choice(["classifier"], ["*norm*"]))),
            ],
        ),
        recipe("resnet", [step("uniform_quantization", bits=integer(2, 8))]),
    ],
    {"accuracy": "higher", "size_bytes": "lower"},
    constraints=[at_most("size_bytes", 60.0)],
    method="tpe",
    samples=40,
    seeds=[0, 1],
)
SMALL = SearchSpace(
    "s",
    "digits",
    [recipe("resnet", [step("uniform_quantization", bits=choice(2, 4, 8))])],
    {"accuracy": "higher"},
    method="tpe",
    samples=9,
)


def taken(sampler: Guided) -> list[Recipe]:
    recipes: list[Recipe] = []
    while recipe := sampler.next():
        recipes.append(recipe)
        sampler.tell(recipe, judged(recipe))
    return recipes


def judged(recipe: Recipe) -> Mapping[str, float]:
    values = {name: value for step in recipe.steps for name, value in step.parameters.items()}
    sparsity = values.get("sparsity", 0.0)
    bits = values.get("bits", 8) if sparsity else 8
    return {"accuracy": 1.0 - sparsity**4 - 0.5**bits, "size_bytes": 100 * (1 - sparsity) * bits / 8}


@pytest.mark.parametrize("method", ["tpe", "nsga2"])
def test_recipes_are_handed_out_once_and_no_more_than_asked(method: Method) -> None:
    recipes = taken(Guided(replace(SPACE, method=method), past=[], first=[], count=15))

    assert len(set(recipes)) == 15
    assert all(answers_for(SPACE, recipe) is not None for recipe in recipes)


def test_a_small_space_is_exhausted() -> None:
    recipes = taken(Guided(SMALL, past=[], first=[], count=9))

    assert sorted(recipe.steps[0].parameters["bits"] for recipe in recipes) == [2, 4, 8]


def test_what_was_left_undone_comes_first_and_what_is_known_does_not_come_again() -> None:
    two, four, eight = sorted(listed(SMALL), key=lambda recipe: recipe.steps[0].parameters["bits"])

    recipes = taken(Guided(SMALL, past=[(two, {"accuracy": 0.2})], first=[eight], count=2))

    assert recipes == [eight, four]


@pytest.mark.parametrize("whose", ["past", "others"])
def test_earlier_trials_and_other_studies_teach(whose: str) -> None:
    known = [(recipe, judged(recipe)) for recipe in listed(replace(SPACE, method="random"))]

    teaching: dict[str, Any] = {"past": [], whose: known}
    sampler = Guided(SPACE, **teaching, first=[], count=20)

    keeping = [recipe for recipe in taken(sampler) if judged(recipe)["size_bytes"] <= 60.0]
    assert len(keeping) > 12


def test_nsga2_improves_from_generation_to_generation() -> None:
    steps = [
        step("magnitude_pruning", sparsity=uniform(0.0, 0.99)),
        step("fine_tune", epochs=integer(1, 50)),
        step("uniform_quantization", bits=integer(2, 8)),
    ]
    one = SearchSpace(
        "s",
        "digits",
        [recipe("resnet", steps)],
        {"accuracy": "higher", "size_bytes": "lower"},
        constraints=[at_most("size_bytes", 20.0)],
        method="nsga2",
        samples=96,
    )

    def small(recipe: Recipe) -> bool:
        return judged(recipe)["size_bytes"] <= 20.0

    found = [small(each) for each in taken(Guided(one, past=[], first=[], count=96))]
    by_lot = [small(each) for each in listed(replace(one, method="random"))]

    assert sum(found[48:]) > 1.5 * sum(by_lot[48:])


def test_what_the_space_does_not_hold_is_handed_out_first_and_teaches_nothing() -> None:
    baseline = Recipe("vit", (Step("random_pruning", {"sparsity": 0.5}),))

    recipes = taken(Guided(SMALL, past=[], first=[baseline], count=3))

    assert recipes[0] == baseline and len(recipes) == 3


@pytest.mark.parametrize("values", [None, {}, {"accuracy": float("nan"), "size_bytes": 1.0}])
def test_a_trial_without_usable_metrics_is_a_failure_to_optuna(values: Mapping[str, float] | None) -> None:
    sampler = Guided(SPACE, past=[(listed(SPACE)[0], values)], first=[], count=2)
    recipe = sampler.next()
    assert recipe

    sampler.tell(recipe, values)

    assert sampler.next()


@pytest.mark.parametrize("method", ["tpe", "nsga2"])
def test_what_was_stopped_early_is_not_handed_out_again_and_counts_as_bad(method: Method) -> None:
    space = replace(SPACE, method=method)
    bad = [drawn for drawn in listed(replace(SPACE, method="random")) if drawn.base == "vit"][:10]
    sampler = Guided(space, past=[], first=[], stopped=bad, count=30)

    found = []
    while drawn := sampler.next():
        found.append(drawn)
        stopped = drawn.base == "vit"
        sampler.tell(drawn, None if stopped else judged(drawn), stopped=stopped)

    assert len(found) == 30 and not set(found) & set(bad)
    assert method == "nsga2" or sum(drawn.base == "vit" for drawn in found) < 8


def test_a_recipe_leads_back_to_its_choices() -> None:
    for drawn in listed(SPACE):
        assert answers_for(SPACE, drawn) is not None
    assert answers_for(SPACE, Recipe("resnet")) is None
    assert answers_for(SMALL, listed(SPACE)[0]) is None


def test_a_recipe_from_before_a_parameter_was_there_is_none_of_the_space() -> None:
    assert answers_for(SMALL, Recipe("resnet", (Step("uniform_quantization"),))) is None
