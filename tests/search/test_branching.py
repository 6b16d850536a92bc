from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe
from cc_ray.search import SearchSpace, branch, choice, front_of, recipe, step
from cc_ray.search.agenda import take_stock
from cc_ray.search.branching import resolved
from cc_ray.search.matching import answers_for
from cc_ray.search.plan import plan
from cc_ray.search.sampling import listed
from cc_ray.search.space import RecipeSpace
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_trial

TASK = Digits()
ROUND = step("uniform_quantization", bits=choice(4, 8))


def space(*forms: RecipeSpace, **fields: Any) -> SearchSpace:
    return SearchSpace("more", "digits", forms, **{"baselines": False, **fields})


def pruned(store: Store, study_id: str = "") -> str:
    (only,) = listed(space(recipe("resnet", [step("magnitude_pruning", sparsity=0.5)])))
    return run_trial(store, TASK, only, study_id=study_id).model_id


def test_recipes_go_on_from_a_model_and_run_only_what_is_new(digits_store: Store) -> None:
    model_id = pruned(digits_store)
    more = space(branch(model_id, [ROUND]), seeds=[7])

    planned = plan(more, digits_store)
    recipes = take_stock(more, digits_store).to_run

    assert [len(recipe.steps) for recipe in recipes] == [2, 2]
    assert {recipe.model_ids(TASK.task_id)[1] for recipe in recipes} == {model_id}
    assert (planned.known, planned.to_run) == (2, 2)


def test_a_guided_search_goes_on_from_models_too(digits_store: Store) -> None:
    guided = space(branch(pruned(digits_store), [ROUND]), recipe("vit", [ROUND]), method="tpe", samples=3, seeds=[1, 2])
    whole = resolved(guided, digits_store, TASK.task_id)

    assert all(answers_for(whole, one) is not None for one in listed(replace(whole, method="grid", samples=None)))
    assert SearchSpace.from_json(guided.to_json()) == guided


def test_the_front_of_a_study_can_be_gone_on_from(digits_store: Store) -> None:
    from cc_ray.search.records import TrialState, write_trials

    model_id = pruned(digits_store, "first")
    (done,) = listed(space(recipe("resnet", [step("magnitude_pruning", sparsity=0.5)])))
    write_trials(digits_store, [(TrialState("first", done, "finished", model_id=model_id), datetime.now(UTC))])

    found = resolved(space(branch(front_of("first"), [ROUND])), digits_store, TASK.task_id)

    assert model_id in {Recipe(f.bases[0], done.steps, f.seeds[0]).model_ids(TASK.task_id)[-1] for f in found.recipes}


def test_what_cannot_be_gone_on_from_is_told(digits_store: Store) -> None:
    for name, what in (("nothing", "no model 'nothing'"), (front_of("none"), "study 'none' has no model")):
        with pytest.raises(InvalidRecipeError, match=what):
            take_stock(space(branch(name, [ROUND])), digits_store)
    with pytest.raises(InvalidRecipeError, match="there is no store yet"):
        take_stock(space(branch("any", [ROUND])), None)
    with pytest.raises(InvalidRecipeError, match="is of task"):
        resolved(space(branch(pruned(digits_store), [ROUND])), digits_store, "another")
