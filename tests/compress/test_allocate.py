import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cc_ray.compress import Outcome, operation_of, validated_recipe
from cc_ray.compress.solvers import exact, greedy
from cc_ray.compress.targets import layer_weights
from cc_ray.errors import InvalidRecipeError, NotApplicableError
from cc_ray.recipe import Recipe, Step
from cc_ray.store.artifacts import save_model
from cc_ray.store.layout import Draft
from cc_ray.tasks.arithmetic import count_multiply_adds
from tests.compress.tiny import TASK, base_model, outputs, run


def bits(**more: object) -> dict[str, Any]:
    return {"applied": "uniform_quantization", "levels": (2, 3, 4, 8), "budget": 4, **more}


def ranks(**more: object) -> dict[str, Any]:
    return {"applied": "low_rank", "levels": (0.3, 0.6, 0.95), "budget": 0.8, "unit": "multiply_adds", **more}


def levels(outcome: Outcome) -> dict[str, float]:
    return {each.layer: each.found or 0.0 for each in outcome.findings if each.check == "level_allocated"}


def error(model: nn.Module, reference: nn.Module) -> float:
    mine, own = (outputs(each).log_softmax(-1) for each in (model, reference))
    return float(nn.functional.kl_div(mine, own, reduction="none", log_target=True).sum(-1).mean())


@pytest.mark.parametrize("solver", ["exact", "greedy"])
def test_the_mean_keeps_to_the_budget_and_the_answers_suffer_less_than_from_uniform_levels(solver: str) -> None:
    base = base_model("vit")

    uniform = run("uniform_quantization", base, bits=4)
    outcome = run("allocate", base, **bits(solver=solver))

    sizes = {path: base.get_parameter(f"{path}.weight").numel() for path in levels(outcome)}
    mean = sum(level * sizes[path] for path, level in levels(outcome).items()) / sum(sizes.values())
    assert mean <= 4
    assert len(set(levels(outcome).values())) > 1
    assert error(outcome.model, base) < error(uniform.model, base)
    assert outcome.representation == "simulated" and outcome.data_used == ("calibration",)


def test_sparsity_is_at_least_the_budget() -> None:
    outcome = run("allocate", base_model("cnn"), applied="magnitude_pruning", levels=(0.2, 0.5, 0.9), budget=0.6)

    found = next(each.found for each in outcome.findings if each.check == "levels_allocated")
    assert found is not None and found >= 0.6
    assert outcome.representation == "float"


def test_bytes_are_those_of_the_saved_layers(tmp_path: Path) -> None:
    base = base_model("cnn")

    outcome = run("allocate", base, **bits(budget=2000, unit="bytes"))

    parts = save_model(Draft(tmp_path), outcome.model).tensor_bytes
    taken = sum(size for name, size in parts.items() if name.rpartition(".")[0] in levels(outcome))
    assert taken <= 2000
    with pytest.raises(NotApplicableError, match=r"take at least [\d,]+ bytes with these levels, not 10"):
        run("allocate", base, **bits(budget=10, unit="bytes"))


def test_a_rank_by_layer_keeps_to_a_share_of_the_multiply_adds() -> None:
    base = base_model("cnn")

    outcome = run("allocate", base, **ranks(instances=16))

    inputs = TASK.data("calibration").inputs[:1]
    share = count_multiply_adds(TASK, outcome.model, inputs) / count_multiply_adds(TASK, base, inputs)
    assert share <= 0.8
    assert share == next(each.found for each in outcome.findings if each.check == "levels_allocated")
    with pytest.raises(NotApplicableError, match=r"take at least 0\.\d+ of the model's multiply-adds .* not 0.01"):
        run("allocate", base, **ranks(budget=0.01, instances=16))


def test_ranks_themselves_are_levels_with_a_setting_of_the_operation() -> None:
    outcome = run("allocate", base_model("cnn"), **ranks(levels=(1, 2, 4), settings={"by": "rank"}, instances=16))

    chosen = levels(outcome)
    assert set(chosen.values()) <= {1, 2, 4}
    made = {each.layer: each.found for each in outcome.findings if each.check == "rank_chosen"}
    assert made and all(chosen[layer] == rank for layer, rank in made.items())


def test_times_that_are_given_bound_the_sum_over_the_layers() -> None:
    base = base_model("cnn")
    paths = [target.path for target in layer_weights(base) if getattr(target.module, "groups", 1) == 1]
    times = {path: (1.0, 2.0, 3.0 + place) for place, path in enumerate(paths)}

    given = ranks(unit="latency_ms", times_ms=times, budget=2.0 * len(paths), instances=16)
    outcome = run("allocate", base, **given)

    found = next(each.found for each in outcome.findings if each.check == "levels_allocated")
    of_layers = [times[path][(0.3, 0.6, 0.95).index(level)] for path, level in levels(outcome).items()]
    assert found == sum(of_layers) <= 2.0 * len(paths)


@pytest.mark.parametrize("solver", ["exact", "greedy"])
def test_a_layer_may_stay_as_it_is_where_that_is_worth_what_it_takes(solver: str) -> None:
    base = base_model("cnn")
    paths = [target.path for target in layer_weights(base) if getattr(target.module, "groups", 1) == 1]
    # Two thin layers take longer than a small one; of the large one alone the second level saves something.
    times = {path: (1.0, 1.2, 1.4, 9.0 if path == "head" else 0.5) for path in paths}
    given = ranks(unit="latency_ms", may_stay=True, times_ms=times, instances=16, solver=solver)

    outcome = run("allocate", base, **{**given, "budget": 1.2 + 0.5 * (len(paths) - 1)})

    stayed = {each.layer for each in outcome.findings if each.check == "level_allocated" and each.found is None}
    assert stayed == set(paths) - {"head"} and 0 < levels(outcome)["head"] <= 0.6
    for path in stayed:
        name = f"{path}.weight"
        assert torch.equal(outcome.model.get_parameter(name), base.get_parameter(name))
    (spent,) = (each.found or 0.0 for each in outcome.findings if each.check == "levels_allocated")
    assert 0 < spent < sum(times[path][0] for path in paths)
    assert not levels(run("allocate", base, **{**given, "budget": 1000.0}))["head"]


def test_a_share_of_the_time_of_layers_is_a_budget_on_every_machine() -> None:
    base = base_model("cnn")
    paths = [target.path for target in layer_weights(base) if getattr(target.module, "groups", 1) == 1]
    slow, fast = ({path: tuple(by * ms for ms in (0.5, 0.7, 0.9, 1.0)) for path in paths} for by in (10.0, 1.0))

    given = ranks(unit="latency", may_stay=True, budget=0.75, instances=16)
    one, other = (run("allocate", base, **{**given, "times_ms": times}) for times in (slow, fast))

    assert levels(one) == levels(other) and len(set(levels(one).values())) > 1
    (found,) = (each.found or 0.0 for each in one.findings if each.check == "levels_allocated")
    spent = sum(slow[path][(0.3, 0.6, 0.95, 0.0).index(level)] for path, level in levels(one).items())
    assert found == pytest.approx(spent / sum(times[-1] for times in slow.values())) and found <= 0.75
    with pytest.raises(NotApplicableError, match=r"at least 0\.5 of the layers' time .* not 0\.4"):
        run("allocate", base, **{**given, "times_ms": fast, "budget": 0.4})


def test_staying_counts_in_the_saved_file_and_in_multiply_adds() -> None:
    base = base_model("cnn")
    inputs = TASK.data("calibration").inputs[:1]

    narrow = run("allocate", base, **bits(levels=(2, 8), budget=3000, unit="bytes", may_stay=True, instances=16))
    thin = run("allocate", base, **ranks(budget=0.9, may_stay=True, instances=16))

    assert 0 < sum(level == 0 for level in levels(narrow).values()) < len(levels(narrow))
    whole = count_multiply_adds(TASK, base, inputs)
    assert count_multiply_adds(TASK, thin.model, inputs) <= 0.9 * whole
    assert any(level == 0 for level in levels(thin).values())


def test_harms_that_are_given_decide_and_say_where_they_come_from() -> None:
    base = base_model("cnn")
    paths = [target.path for target in layer_weights(base)]
    harms = {path: (0.0,) * 4 if path == "stem.0" else (3.0, 2.0, 1.0, -0.5) for path in paths}

    outcome = run("allocate", base, **bits(harms=harms, metric="loss", measured_on="evaluation", budget=7))

    assert levels(outcome)["stem.0"] == 2 and levels(outcome)["head"] == 8
    assert outcome.data_used == ("evaluation",)
    said = next(each for each in outcome.findings if each.check == "harms_weighed")
    assert said.severity == "warning" and "of loss, by rows of `cc-ray sensitivity` on the evaluation" in said.message
    del harms["head"]
    with pytest.raises(NotApplicableError, match=r"harms tells nothing of 'head\.weight': exclude or add them"):
        run("allocate", base, **bits(harms=harms, metric="loss"))


def test_the_integer_program_finds_what_trying_all_finds() -> None:
    chance = np.random.default_rng(0)
    for _ in range(20):
        harm, cost = chance.random((2, 4, 3))
        limit = float(cost.mean(axis=1).sum())
        every = [
            sum(harm[row, column] for row, column in enumerate(choice))
            for choice in itertools.product(range(3), repeat=4)
            if sum(cost[row, column] for row, column in enumerate(choice)) <= limit
        ]
        least, stepwise = (
            sum(harm[row, column] for row, column in enumerate(solve(harm, cost, limit))) for solve in (exact, greedy)
        )
        assert least == pytest.approx(min(every))
        assert stepwise >= least - 1e-9


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (bits(applied="fine_tune"), "applied='fine_tune' has no level for each layer: choose one of .*bits|prun"),
        (bits(applied="uniform_pruning"), "unknown operation 'uniform_pruning': did you mean"),
        (bits(levels=(2, 99)), "bits=99: input should be less than or equal to 8"),
        (bits(budget=9), "budget=9 lies outside the levels, 2 to 8"),
        (bits(settings={"bits": 3}), "settings: bits is set for each layer"),
        (bits(settings={"symetric": True}), "there is no parameter 'symetric'; did you mean 'symmetric'"),
        (bits(harms={"head": [1, 2, 3]}, metric="loss"), "harms: 'head' has 3 numbers for 4 levels"),
        (bits(harms={"head": [4, 3, 2, 1]}), "harms and metric belong together"),
        (bits(unit="multiply_adds", budget=0.5), "takes as long at any level of uniform_quantization, .* low_rank"),
        (bits(unit="latency_ms", times_ms={"head": [1, 1, 1, 1]}), "as long at any level of uniform_quantization"),
        (ranks(unit="latency_ms"), "times_ms and unit='latency' or 'latency_ms' belong together"),
        (bits(may_stay=True), "may_stay: what stays as it is has no level to count"),
        (
            ranks(unit="latency_ms", may_stay=True, times_ms={"head": [1, 1, 1]}),
            "'head' has 3 numbers for 3 levels and one to stay",
        ),
        (ranks(unit="latency", times_ms={"head": [1, 1, 1]}), "unit='latency' is a share .* needs may_stay=True"),
        (ranks(budget=1.5), "budget=1.5: of multiply_adds it is a share"),
    ],
)
def test_what_cannot_be_is_refused_before_any_trial(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRecipeError, match=said):
        validated_recipe(Recipe("cnn", (Step("allocate", parameters),)), ["cnn"])


def test_training_cannot_follow_an_allocation_of_bits() -> None:
    steps = (Step("allocate", bits()), Step("fine_tune", {"epochs": 1}))
    with pytest.raises(InvalidRecipeError, match="fine_tune works on models whose weights are float, not simulated"):
        validated_recipe(Recipe("cnn", steps), ["cnn"])
    assert operation_of(steps[0]).runs_on() == frozenset()
