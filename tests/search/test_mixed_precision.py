"""The search spaces that compare a bit width for each layer with one for all, run on a few of their recipes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe
from cc_ray.search import SearchSpace, times_of
from cc_ray.search.layer_times import time_layers
from cc_ray.search.load import load_space
from cc_ray.search.plan import plan
from cc_ray.search.sensitivity import measure, plan_probes
from cc_ray.search.space import Choice, RecipeSpace, Slot, StepSpace
from cc_ray.search.tuner import explore
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from search_spaces.mixed_precision import SHARES

TASK = Digits()
BASE = Recipe("resnet").model_ids(TASK.task_id)[0]
WIDTH = 3


def few(step: StepSpace) -> StepSpace:
    """The step with each open value closed: width and budget alike, and the first of all others."""
    values = {name: value.options[0] if isinstance(value, Choice) else value for name, value in step.parameters.items()}
    alike = {"bits": WIDTH} if step.operation == "uniform_quantization" else {"budget": WIDTH, "instances": 64}
    assert all(WIDTH in step.parameters[name].options for name in ("bits", "budget") if name in values)
    return StepSpace(step.operation, {**values, **alike})


def in_small(space: SearchSpace) -> SearchSpace:
    """The residual network alone, one recipe for each way to round the layers, nothing after it."""
    form = space.recipes[0]
    forms = [RecipeSpace(("resnet",), (Slot(tuple(map(few, form.slots[0].options))),))]
    return replace(space, recipes=forms, baselines=False)


def at(form: RecipeSpace, **alike: float) -> RecipeSpace:
    """The residual network alone; of its first steps the uniform one and the first allocated one, at equal values."""
    found = []
    for option in form.slots[0].options[:2]:
        chosen = {name: value for name, value in alike.items() if name in option.parameters}
        assert all(value in option.parameters[name].options for name, value in chosen.items())
        found.append(StepSpace(option.operation, {**option.parameters, **chosen}))
    return RecipeSpace(("resnet",), (Slot(tuple(found)),))


def made(store: Store) -> Iterator[tuple[str, float, float]]:
    """Operation, size and accuracy of each model that was made from the base model."""
    metrics = {
        (row["model_id"], row["metric"]): row["value"]
        for row in store.read("metrics").to_pylist()
        if row["slice"] == "all"
    }
    for row in store.read("models").to_pylist():
        if row["operation"] is not None:
            yield row["operation"], *(metrics[row["model_id"], name] for name in ("size_bytes", "accuracy"))


@pytest.mark.usefixtures("ray_cluster")
def test_allocated_and_uniform_widths_meet_in_the_store_at_equal_size(digits_store: Store) -> None:
    by_rows = in_small(load_space("mixed_precision_by_rows"))
    with pytest.raises(InvalidRecipeError, match=rf"60 of 60 rows are not in .*cc-ray sensitivity {BASE}"):
        plan(by_rows, digits_store)
    levels = load_space("mixed_precision_by_rows").recipes[0].slots[0].options[0].parameters["levels"]
    probes = plan_probes(digits_store, BASE, "uniform_quantization", levels, split="calibration").probes
    assert set(measure((str(digits_store.root), BASE, "calibration"), probes)) == {""}

    for space in (in_small(load_space("mixed_precision")), by_rows):
        summary = explore(space, digits_store)
        assert (summary.state, summary.failures) == ("finished", ())

    found = list(made(digits_store))
    assert Counter(operation for operation, *_ in found) == {"uniform_quantization": 1, "allocate": 2}
    (uniform,) = (size for operation, size, _ in found if operation == "uniform_quantization")
    for operation, size, accuracy in found:
        assert size == pytest.approx(uniform, rel=0.05), operation
        assert 0.5 < accuracy <= 1


@pytest.mark.usefixtures("ray_cluster")
def test_allocated_and_uniform_sparsities_and_ranks_meet_at_equal_size(digits_store: Store) -> None:
    _, pruned, factored = load_space("mixed_precision").recipes
    forms = [at(pruned, sparsity=0.7, budget=0.7), at(factored, amount=0.5, budget=0.5)]

    summary = explore(replace(load_space("mixed_precision"), recipes=forms, baselines=False), digits_store)

    assert (summary.state, summary.failures) == ("finished", ())
    found = list(made(digits_store))
    sizes = {operation: size for operation, size, _ in found if operation != "allocate"}
    assert Counter(operation for operation, *_ in found) == {"magnitude_pruning": 1, "low_rank": 1, "allocate": 2}
    for operation, size, _ in found:
        if operation == "allocate":
            assert min(abs(size / other - 1) for other in sizes.values()) < 0.1, (size, sizes)


@pytest.mark.usefixtures("ray_cluster")
def test_ranks_keep_to_a_share_of_the_time_that_was_measured(digits_store: Store) -> None:
    whole = load_space("mixed_precision_by_times")
    space = replace(whole, recipes=[at(whole.recipes[0], amount=0.5, budget=0.95)], baselines=False)
    with pytest.raises(InvalidRecipeError, match=rf"60 of 60 rows are not in .*`cc-ray layer-times {BASE}"):
        plan(space, digits_store)
    time_layers(plan_probes(digits_store, BASE, "low_rank", SHARES), digits_store)

    summary = explore(space, digits_store)

    assert (summary.state, summary.failures) == ("finished", ())
    shares = [row["found"] for row in digits_store.read("findings").to_pylist() if row["check"] == "levels_allocated"]
    assert len(shares) == 1 and shares[0] <= 0.95
    assert {operation for operation, *_ in made(digits_store)} == {"low_rank", "allocate"}


def test_times_of_a_gpu_are_asked_for_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC_RAY_TIMES_OF", "cuda")

    space = load_space("mixed_precision_by_times")

    assert space.recipes[0].slots[0].options[1].parameters["times_ms"] == times_of("cuda")
    assert space.resources["latency"].gpus == 1


def test_the_whole_search_space_needs_nothing_but_its_task() -> None:
    planned = plan(load_space("mixed_precision"), None)

    assert {entry.operation for entry in planned.by_operation} >= {
        "allocate", "low_rank", "magnitude_pruning", "uniform_quantization",
    }  # fmt: skip
