import pickle

import pytest

from cc_ray.recipe import ID_LENGTH, Recipe, Step, canonical_json

PRUNE = Step("magnitude_pruning", {"sparsity": 0.5, "scope": "global"})
TUNE = Step("fine_tune", {"epochs": 2})


def test_a_recipe_comes_back_from_json_and_pickle() -> None:
    recipe = Recipe("resnet", (PRUNE, TUNE), seed=3)

    assert Recipe.from_json(recipe.to_json()) == recipe
    assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_equal_prefixes_name_the_same_models() -> None:
    one = Recipe("resnet", (PRUNE, TUNE)).model_ids("task")
    other = Recipe("resnet", (PRUNE, Step("calibrate"))).model_ids("task")

    assert one[:2] == other[:2]
    assert one[2] != other[2]
    assert one[:2] == Recipe("resnet", (PRUNE, TUNE)).prefix(1).model_ids("task")


@pytest.mark.parametrize(
    "other",
    [
        Recipe("vit", (PRUNE,)),
        Recipe("resnet", (PRUNE,), seed=1),
        Recipe("resnet", (Step("magnitude_pruning", {"sparsity": 0.6, "scope": "global"}),)),
        Recipe("resnet", (Step("magnitude_pruning", PRUNE.parameters, version=2),)),
        Recipe("resnet", (Step("random_pruning", PRUNE.parameters),)),
    ],
)
def test_everything_that_a_model_came_from_is_in_its_identity(other: Recipe) -> None:
    assert Recipe("resnet", (PRUNE,)).model_ids("task")[-1] != other.model_ids("task")[-1]
    assert Recipe("resnet", (PRUNE,)).model_ids("task") != Recipe("resnet", (PRUNE,)).model_ids("other task")


def test_the_order_of_parameters_does_not_matter() -> None:
    swapped = Step("magnitude_pruning", {"scope": "global", "sparsity": 0.5})

    assert hash(swapped) == hash(PRUNE)
    assert Recipe("a", (swapped,)).model_ids("t") == Recipe("a", (PRUNE,)).model_ids("t")


def test_identities_are_hexadecimal() -> None:
    (identity,) = Recipe("resnet").model_ids("task")

    assert len(identity) == ID_LENGTH
    assert int(identity, 16) >= 0


def test_nan_has_no_canonical_form() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"sparsity": float("nan")})


def test_a_recipe_reads_like_a_sentence() -> None:
    recipe = Recipe("resnet", (PRUNE, Step("restore", {"include": ("*.norm", "head"), "exclude": []})))

    assert str(recipe) == "resnet → magnitude_pruning(sparsity=0.5, scope=global) → restore(include=*.norm|head)"


def test_a_step_says_what_it_asks_for_and_no_more() -> None:
    asked = {"include": [], "sparsity": 0.5, "levels": {"head": 0.25, "*.norm": 0.0}, "semi_structured": None}

    assert str(Step("prune", asked)) == "prune(sparsity=0.5, levels=head:0.25|*.norm:0)"
    assert str(Step("prune", {**asked, "levels": {}})) == "prune(sparsity=0.5)"
