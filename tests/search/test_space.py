import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from cc_ray.errors import InvalidRecipeError
from cc_ray.search import (
    SearchSpace,
    at_least,
    at_most,
    choice,
    either,
    integer,
    loguniform,
    optional,
    recipe,
    step,
    uniform,
)

PRUNE = step("magnitude_pruning", sparsity=choice(0.3, 0.5))


def space(**fields: Any) -> SearchSpace:
    return SearchSpace(**{"name": "s", "task": "digits", "recipes": [recipe("resnet", [PRUNE])], **fields})


def test_a_space_survives_the_round_trip_over_json() -> None:
    written = space(
        recipes=[
            recipe(
                choice("resnet", "vit"),
                [
                    either(PRUNE, step("channel_pruning", ratio=uniform(0.1, 0.5))),
                    optional(step("fine_tune", epochs=integer(1, 3), learning_rate=loguniform(1e-4, 1e-2))),
                    step("restore", include=["classifier"]),
                ],
            )
        ],
        constraints=[at_most("size_bytes", 200_000), at_least("accuracy", 0.9)],
        method="random",
        samples=5,
        seeds=[0, 1],
        time_budget_s=60.0,
    )

    read = SearchSpace.from_json(json.loads(json.dumps(written.to_json())))

    assert read.to_json() == written.to_json()
    assert read.recipes == written.recipes


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: space(name="a b"), "'name' is 'a b'; allowed: letters"),
        (lambda: space(recipes=[]), "'recipes' is []; allowed: a list"),
        (lambda: space(recipes=[PRUNE]), "a list with at least one recipe(...)"),
        (lambda: space(seeds=[-1]), "'seeds' is [-1]; allowed: at least one whole number"),
        (lambda: space(method="best"), "'method' is 'best'; allowed: one of grid, random, tpe, nsga2"),
        (lambda: space(samples=3), "'samples' is 3; allowed: nothing with method='grid'"),
        (lambda: space(method="random"), "'samples' is None; allowed: a whole number above 0"),
        (lambda: space(objectives={"accuracy": "max"}), "'objectives: accuracy' is 'max'; allowed: 'higher'"),
        (lambda: space(objectives={}), "at least one metric"),
        (lambda: space(time_budget_s=0), "'time_budget_s' is 0; allowed: seconds above 0"),
        (lambda: space(time_budget_s=float("inf")), "'time_budget_s' is inf; allowed: seconds above 0"),
        (lambda: space(seeds=[2**63]), "'seeds' is [9223372036854775808]"),
        (lambda: space(constraints=["size_bytes"]), "'constraints' is ['size_bytes']; allowed: a list of at_most(...)"),
        (lambda: at_most("size_bytes", float("inf")), "'constraint: size_bytes at_most' is inf; allowed: a finite"),
        (lambda: choice(), "'choice' is 'without options'"),
        (lambda: uniform(0.5, 0.1), "'uniform' is '(0.5, 0.1)'; allowed: a low end below"),
        (lambda: loguniform(0.0, 1.0), "'loguniform' is '(0.0, 1.0)'; allowed: ends above 0"),
        (lambda: integer(1, 2.5), "'integer' is '(1, 2.5)'; allowed: whole numbers"),  # type: ignore[arg-type]
        (lambda: recipe("resnet", ["calibrate"]), "'recipe: steps' is 'calibrate'"),  # type: ignore[list-item]
        (lambda: recipe(choice(1)), "'recipe: base' is 1"),
        (lambda: step("restore", include={1, 2}), "'restore: include' is {1, 2}; allowed: plain data"),
        (lambda: either(), "'either' is 'without steps'"),
    ],
)
def test_what_cannot_be_right_is_refused_where_it_is_written(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(InvalidRecipeError, match=re.escape(says)):
        make()
