from pathlib import Path

import pytest

from cc_ray.compress import validated_recipe
from cc_ray.recipe import BASE_STEP, Recipe, Step
from cc_ray.search import SearchSpace, choice, optional, recipe, step, uniform
from cc_ray.search.load import load_space
from cc_ray.search.plan import DEFAULT_BYTES, DEFAULT_STEP_S, plan
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_trial
from tests.compare.small import model_row

PRUNE = step("magnitude_pruning", sparsity=choice(0.5, 0.8))


def test_a_plan_needs_no_store() -> None:
    planned = plan(
        SearchSpace("s", "digits", [recipe("resnet", [PRUNE, optional(step("calibrate"))])], baselines=False), None
    )

    assert (planned.trials, planned.trials_to_run) == (4, 4)
    assert (planned.steps, planned.unique_steps, planned.shared) == (10, 5, 5)
    assert (planned.known, planned.to_run) == (0, 5)
    assert {entry.operation: entry.to_run for entry in planned.by_operation} == {
        "calibrate": 2,
        "magnitude_pruning": 2,
        BASE_STEP: 1,
    }
    assert all(entry.step_s == DEFAULT_STEP_S and not entry.known for entry in planned.by_operation)


def test_expectations_come_from_what_the_store_has_seen(digits_store: Store) -> None:
    done = validated_recipe(Recipe("resnet", (Step("magnitude_pruning", {"sparsity": 0.5}),)), Digits.bases)
    model_id = run_trial(digits_store, Digits(), done).model_id

    planned = plan(SearchSpace("s", "digits", [recipe("resnet", [PRUNE])], baselines=False), digits_store)

    (pruning,) = (entry for entry in planned.by_operation if entry.operation == "magnitude_pruning")
    run = next(
        row
        for row in digits_store.read("step_runs").to_pylist()
        if row["model_id"] == model_id and row["kind"] == "step"
    )
    assert pruning.known and pruning.step_s == run["duration_s"]
    assert (planned.known, planned.to_run, planned.estimated_bytes) == (2, 1, pruning.step_bytes)
    assert planned.estimated_s > 0


def test_models_that_no_step_made_are_passed_over(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    store.publish("step", "imported", {"models": [model_row(name, Recipe("resnet")) for name in ("aaaa", "bbbb")]})

    planned = plan(SearchSpace("s", "digits", [recipe("resnet")], baselines=False), store)

    assert (planned.to_run, [entry.step_bytes for entry in planned.by_operation]) == (1, [DEFAULT_BYTES])


@pytest.mark.parametrize(("method", "exact"), [("random", True), ("tpe", False)])
def test_recipes_taken_by_lot_stand_in_for_those_that_optuna_will_choose(method: str, exact: bool) -> None:
    space = SearchSpace.from_json(
        {
            **SearchSpace(
                "s", "digits", [recipe("vit", [step("random_pruning", sparsity=uniform(0, 0.9))])], baselines=False
            ).to_json(),
            "method": method,
            "samples": 7,
        }
    )

    planned = plan(space, None)

    assert planned.exact is exact
    assert (planned.trials, planned.to_run) == (7, 8)


def test_the_demo_is_as_large_as_it_says() -> None:
    planned = plan(load_space("digits"), None)

    assert 70 <= planned.unique_steps <= 90
    assert planned.shared > planned.unique_steps
