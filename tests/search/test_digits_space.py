"""The search space of the demo: what it plans, and its deepest recipe."""

from cc_ray.search.agenda import take_stock
from cc_ray.search.load import load_space
from cc_ray.search.plan import plan
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_trial


def test_it_makes_more_than_sixty_models_of_two_bases() -> None:
    planned = plan(load_space("digits"), None)

    assert planned.unique_steps > 60 and planned.shared > 0
    assert {entry.operation for entry in planned.by_operation} > {"fine_tune", "magnitude_pruning", "quantize_dynamic"}


def test_its_deepest_recipe_runs(digits_store: Store) -> None:
    recipes = [one for one in take_stock(load_space("digits"), digits_store).to_run if one.base == "resnet"]
    deepest = max(recipes, key=lambda one: len(one.steps))
    assert len(deepest.steps) == 4

    made = run_trial(digits_store, Digits(), deepest)

    metrics = {
        row["metric"]: row["value"] for row in digits_store.read("metrics", keys={"step": made.model_id}).to_pylist()
    }
    assert 0.5 < metrics["accuracy"] <= 1
