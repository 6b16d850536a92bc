from collections import Counter

import pytest
import torch
from torch import nn

from cc_ray.compress import Suits, validated_recipe
from cc_ray.errors import InvalidRecipeError
from cc_ray.recipe import Recipe, Step
from tests.compress.tiny import MODELS, Tiny

BUILT: Counter[str] = Counter()


class Counted(Tiny):
    """Counts the models that it is asked for."""

    def build(self, base: str) -> nn.Module:
        BUILT[base] += 1
        return super().build(base)


def recipe(base: str, *steps: Step) -> Recipe:
    return validated_recipe(Recipe(base, steps), MODELS)


@pytest.fixture
def suits() -> Suits:
    BUILT.clear()
    return Suits(Counted())


def test_the_refusal_names_recipe_step_and_reason(suits: Suits) -> None:
    prune = Step("magnitude_pruning", {"sparsity": 0.5})

    with pytest.raises(InvalidRecipeError, match=r"^step 2 of 'vit → .*': calibrate does not apply to this model: it"):
        suits.check(recipe("vit", prune, Step("calibrate")))
    with pytest.raises(InvalidRecipeError, match=r"include='nowhere' and exclude=nothing leave no layer"):
        suits.check(recipe("cnn", Step("magnitude_pruning", {"sparsity": 0.5, "include": ["nowhere"]})))
    assert suits.does(recipe("cnn", prune, Step("calibrate")))
    assert not suits.does(recipe("vit", prune, Step("calibrate")))


def test_a_base_is_built_once_and_leaves_chance_alone(suits: Suits) -> None:
    state = torch.get_rng_state()

    for sparsity in (0.1, 0.2, 0.3):
        suits.check(recipe("cnn", Step("magnitude_pruning", {"sparsity": sparsity}), Step("calibrate")))

    assert BUILT == {"cnn": 1}
    assert torch.equal(torch.get_rng_state(), state)


def test_what_follows_a_change_of_the_architecture_is_not_asked(suits: Suits) -> None:
    cut, prune = (
        Step("channel_pruning", {"ratio": 0.5}),
        Step("magnitude_pruning", {"sparsity": 0.5, "include": ["nowhere"]}),
    )

    suits.check(recipe("cnn", cut, prune))
    with pytest.raises(InvalidRecipeError, match=r"step 1 of .* leave no layer"):
        suits.check(recipe("cnn", prune, cut))
