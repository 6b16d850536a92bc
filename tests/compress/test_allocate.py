import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from cc_ray.compress import Outcome, operation_of, validated_recipe
from cc_ray.compress.allocate import _exact, _greedy
from cc_ray.errors import InvalidRecipeError, NotApplicableError
from cc_ray.recipe import Recipe, Step
from cc_ray.search.load import load_space
from cc_ray.search.plan import plan
from cc_ray.store.artifacts import save_model
from cc_ray.store.layout import Draft
from tests.compress.tiny import base_model, outputs, run


def bits(**more: object) -> dict[str, Any]:
    return {"applied": "uniform_quantization", "levels": (2, 3, 4, 8), "budget": 4, **more}


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
        exact, greedy = (
            sum(harm[row, column] for row, column in enumerate(solve(harm, cost, limit))) for solve in (_exact, _greedy)
        )
        assert exact == pytest.approx(min(every))
        assert greedy >= exact - 1e-9


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (bits(applied="fine_tune"), "applied='fine_tune' has no level for each layer: choose one of .*bits|prun"),
        (bits(applied="uniform_pruning"), "unknown operation 'uniform_pruning': did you mean"),
        (bits(levels=(2, 99)), "bits=99: input should be less than or equal to 8"),
        (bits(budget=9), "budget=9 lies outside the levels, 2 to 8"),
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


def test_the_search_space_compares_allocated_with_uniform_widths() -> None:
    planned = plan(load_space("mixed_precision"), None)

    assert {entry.operation for entry in planned.by_operation} >= {"allocate", "uniform_quantization"}
