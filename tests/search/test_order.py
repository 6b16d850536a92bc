"""Steps that come in any order."""

import json
import re
from collections.abc import Mapping

import pytest

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe
from cc_ray.search import SearchSpace, choice, either, in_any_order, optional, recipe, step, uniform
from cc_ray.search.guided import Guided
from cc_ray.search.matching import answers_for
from cc_ray.search.plan import plan
from cc_ray.search.sampling import check, listed, size
from cc_ray.search.space import AnyOrder, Method, RecipeSpace, Slot, StepSpace

PRUNE = step("magnitude_pruning", sparsity=choice(0.3, 0.5))
CUT = step("channel_pruning", ratio=0.5)
TUNE = step("fine_tune", epochs=1)
ROUND = step("quantize_weights")


def grid(*items: StepSpace | Slot | AnyOrder) -> SearchSpace:
    return SearchSpace("s", "digits", [recipe("resnet", items)], baselines=False)


def guided(method: Method, *forms: RecipeSpace, samples: int = 12) -> SearchSpace:
    return SearchSpace("s", "digits", forms, {"accuracy": "higher"}, method=method, samples=samples)


def operations(recipe: Recipe) -> str:
    """First letters of the operations."""
    return "".join(step.operation[0] for step in recipe.steps)


def test_a_grid_has_every_order_and_each_recipe_once() -> None:
    space = grid(in_any_order(PRUNE, optional(TUNE), CUT), ROUND)

    found = [operations(recipe) for recipe in listed(space)]

    # Two levels of sparsity; with the optional step six orders, without it two.
    assert sorted(found) == sorted(2 * ["mfcq", "mcfq", "fmcq", "fcmq", "cmfq", "cfmq", "mcq", "cmq"])
    assert found[0] == "mcq" and size(space) == 16 == plan(space, None).trials


def test_orders_of_two_stretches_combine_and_what_stands_between_stays() -> None:
    space = grid(in_any_order(TUNE, CUT), step("calibrate"), in_any_order(either(TUNE, PRUNE), CUT))

    assert {operations(recipe)[2] for recipe in listed(space)} == {"c"}
    assert len(listed(space)) == 2 * 2 * 3


def test_an_order_in_which_a_step_cannot_work_is_left_out_but_not_the_one_that_is_written() -> None:
    restore = step("restore", include=["classifier"])

    assert [operations(recipe) for recipe in listed(grid(in_any_order(CUT, restore, TUNE)))] == [
        "crf",
        "cfr",
        "fcr",
        "frc",
    ]
    with pytest.raises(InvalidRecipeError, match="place it before the quantization"):
        listed(grid(in_any_order(ROUND, CUT)))
    with pytest.raises(InvalidRecipeError, match="place it before the quantization"):
        check(guided("random", recipe("resnet", [in_any_order(ROUND, CUT)])))


@pytest.mark.parametrize("method", ["random", "tpe", "nsga2"])
def test_every_method_takes_orders_that_can_run(method: Method) -> None:
    prune = step("magnitude_pruning", sparsity=uniform(0.1, 0.9))
    space = guided(method, recipe("resnet", [in_any_order(prune, TUNE, CUT)]))

    if method == "random":
        found = listed(space)
    else:
        sampler = Guided(space, past=[], first=[], count=12)
        found = [drawn for _ in range(12) if (drawn := sampler.next())]

    assert len(set(found)) == 12
    assert len({operations(recipe) for recipe in found}) > 2
    assert all(answers_for(space, recipe) is not None for recipe in found)


@pytest.mark.parametrize("method", ["tpe", "nsga2"])
def test_orders_that_cannot_run_are_not_handed_out(method: Method) -> None:
    prune = step("magnitude_pruning", sparsity=uniform(0.1, 0.9))
    sampler = Guided(guided(method, recipe("resnet", [in_any_order(prune, ROUND)])), past=[], first=[], count=6)

    assert {operations(drawn) for _ in range(6) if (drawn := sampler.next())} == {"mq"}


def test_optuna_learns_which_order_is_good() -> None:
    prune = step("magnitude_pruning", sparsity=uniform(0.1, 0.9))
    space = guided("tpe", recipe("resnet", [in_any_order(prune, TUNE, CUT)]), samples=60)

    def judged(recipe: Recipe) -> Mapping[str, float]:
        return {"accuracy": 1.0 if operations(recipe) == "cmf" else 0.5}

    known = [
        (recipe, judged(recipe)) for recipe in listed(SearchSpace.from_json({**space.to_json(), "method": "random"}))
    ]
    sampler = Guided(space, past=known, first=[], count=20)
    found = []
    while drawn := sampler.next():
        found.append(operations(drawn))
        sampler.tell(drawn, judged(drawn))

    assert found.count("cmf") > 8  # By lot it would be 20 / 6.


def test_choices_are_named_by_the_place_that_is_written() -> None:
    space = guided("tpe", recipe("resnet", [in_any_order(PRUNE, TUNE)]))
    there, back = (
        answers_for(space, found)
        for letters in ("mf", "fm")
        for found in listed(grid(in_any_order(PRUNE, TUNE)))
        if operations(found) == letters and found.steps[letters.index("m")].parameters["sparsity"] == 0.5
    )

    assert there and back
    assert {**there, "0.order": None} == {**back, "0.order": None}
    assert (there["0.order"], back["0.order"]) == (0, 1)


def test_orders_survive_the_round_trip_over_json_and_a_branch() -> None:
    written = recipe("resnet", [PRUNE, in_any_order(TUNE, CUT)])

    assert RecipeSpace.from_json(json.loads(json.dumps(written.to_json()))) == written
    assert written.after("vit", [ROUND, ROUND], (3,)).in_any_order == ((3, 5),)
    assert written.after("vit", [ROUND, ROUND], (3,)).orders() == [(0, 1, 2, 3, 4), (0, 1, 2, 4, 3)]


def test_too_many_places_and_too_few_are_refused() -> None:
    with pytest.raises(InvalidRecipeError, match=re.escape("'in_any_order' is '5040 orders'; allowed: at most 720")):
        recipe("resnet", [in_any_order(*[TUNE] * 7)])
    with pytest.raises(InvalidRecipeError, match="1 steps"):
        in_any_order(TUNE)
    with pytest.raises(InvalidRecipeError, match="'in_any_order: steps' is 'calibrate'"):
        in_any_order(TUNE, "calibrate")  # type: ignore[arg-type]
