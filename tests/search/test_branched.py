from datetime import UTC, datetime

import pytest

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe
from cc_ray.search import Resources, SearchSpace, at_most, choice, recipe, step
from cc_ray.search.agenda import take_stock
from cc_ray.search.branched import again, branched
from cc_ray.search.plan import plan
from cc_ray.search.records import branched_before, write_study
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits

TASK_ID = Digits().task_id
BASE = Recipe("resnet").model_ids(TASK_ID)[0]
PRUNE = step("magnitude_pruning", sparsity=choice(0.3, 0.5))


def write(store: Store, space: SearchSpace, *origins: str) -> None:
    now = datetime.now(UTC)
    write_study(store, space, TASK_ID, "stopped", now, {}, now, reason="why", started_by="Ann", branched_from=origins)


def test_each_model_goes_on_with_each_value_as_its_study_wanted_it(digits_store: Store) -> None:
    before = SearchSpace(
        "first",
        "digits",
        [recipe("resnet", [step("calibrate")])],
        objectives={"loss": "lower"},
        constraints=[at_most("size_bytes", 1e6)],
        resources={"calibrate": Resources(gpus=1), "*": Resources(cpus=2, gpus=0.5)},
    )
    write(digits_store, before)

    space = branched(digits_store, [BASE, BASE], [PRUNE, step("quantize_weights")])
    planned = plan(space, digits_store)

    assert space.name == "resnet-magnitude_pruning-quantize_weights"
    assert (space.objectives, space.constraints) == (before.objectives, before.constraints)
    assert set(space.resources) == {"*"}
    assert (planned.trials_to_run, planned.known, planned.to_run) == (2, 1, 4)
    assert planned.gpu_hours == pytest.approx(4 * 0.5 / 3600)
    assert take_stock(space, digits_store).branched_from == (BASE,)


def test_other_seeds_begin_with_the_base_model(digits_store: Store) -> None:
    planned = plan(branched(digits_store, [BASE], [step("calibrate")], seeds=[0, 1]), digits_store)

    assert (planned.trials, planned.known, planned.to_run) == (2, 1, 3)


def test_a_study_is_gone_on_with_as_it_was_and_remembers_where_it_began(digits_store: Store) -> None:
    space = branched(digits_store, [BASE], [PRUNE], name="more")
    whole = take_stock(space, digits_store).space
    write(digits_store, whole, BASE)

    assert again(digits_store, "more") == whole
    assert branched_before(digits_store, "more") == (BASE,)
    assert branched(digits_store, [BASE], [PRUNE]).name == "resnet-magnitude_pruning"
    (row,) = digits_store.read("studies").to_pylist()
    assert (row["reason"], row["started_by"], row["branched_from"]) == ("why", "Ann", [BASE])


def test_what_cannot_be_branched_or_resumed_is_told(digits_store: Store) -> None:
    for models, steps, said in (([], [PRUNE], "at least one model"), ([BASE], [], "at least one step")):
        with pytest.raises(InvalidRecipeError, match=said):
            branched(digits_store, models, steps)
    with pytest.raises(InvalidRecipeError, match="no model 'nothing'"):
        branched(digits_store, ["nothing"], [PRUNE])
    with pytest.raises(InvalidRecipeError, match="no study 'nothing'"):
        again(digits_store, "nothing")
