import itertools

import pytest

from cc_ray.errors import InvalidRecipeError, UnknownMetricError, UnknownOperationError, UnknownTaskError
from cc_ray.recipe import Recipe
from cc_ray.search import SearchSpace, choice, either, integer, loguniform, optional, recipe, step, uniform
from cc_ray.search.sampling import check, draw_by_lot, listed, size
from cc_ray.search.space import RecipeSpace

PRUNE = step("magnitude_pruning", sparsity=choice(0.3, 0.5))
OPEN = step("magnitude_pruning", sparsity=uniform(0.1, 0.9))


def grid(*recipes: RecipeSpace) -> SearchSpace:
    return SearchSpace("s", "digits", recipes)


def random(samples: int, *recipes: RecipeSpace) -> SearchSpace:
    return SearchSpace("s", "digits", recipes, method="random", samples=samples)


def short(recipes: list[Recipe]) -> list[str]:
    """Base, first letters of the operations, first parameter."""
    return [
        " ".join([r.base[0], *(f"{s.operation[0]}{s.parameters.get('sparsity', '')}" for s in r.steps)])
        for r in recipes
    ]


def test_a_grid_writes_out_every_recipe() -> None:
    space = grid(recipe(choice("resnet", "vit"), [PRUNE, optional(step("fine_tune", epochs=1))]))

    assert short(listed(space)) == [
        "r m0.3", "r m0.3 f", "r m0.5", "r m0.5 f", "v m0.3", "v m0.3 f", "v m0.5", "v m0.5 f",
    ]  # fmt: skip


def test_one_of_several_steps() -> None:
    space = grid(recipe("vit", [either(step("quantize_weights"), step("magnitude_pruning", sparsity=0.5))]))

    assert short(listed(space)) == ["v q", "v m0.5"]


def test_every_seed_is_a_recipe_of_its_own() -> None:
    space = SearchSpace("s", "digits", [recipe("resnet")], seeds=[3, 4])

    assert [recipe.seed for recipe in listed(space)] == [3, 4]


def test_recipes_are_canonical_and_equal_ones_collapse() -> None:
    space = grid(
        recipe("resnet", [step("magnitude_pruning", sparsity=0.5)]),
        recipe("resnet", [step("magnitude_pruning", sparsity=0.5, scope="global")]),
    )

    (only,) = listed(space)

    assert only.steps[0].parameters["scope"] == "global"


def test_a_grid_refuses_an_open_range() -> None:
    with pytest.raises(InvalidRecipeError, match=r"'magnitude_pruning: sparsity' is an open range \(0.1 to 0.9\)"):
        listed(grid(recipe("resnet", [OPEN])))


def test_random_recipes_are_distinct_and_follow_from_the_seed() -> None:
    space = random(20, recipe("resnet", [OPEN, optional(step("fine_tune", epochs=integer(1, 3)))]))

    recipes = listed(space)

    assert len(set(recipes)) == 20
    assert recipes == listed(space)
    assert all(0.1 <= recipe.steps[0].parameters["sparsity"] <= 0.9 for recipe in recipes)


def test_random_takes_all_recipes_of_a_small_space_and_no_more() -> None:
    space = random(100, recipe("resnet", [PRUNE]))

    assert sorted(short(listed(space))) == ["r m0.3", "r m0.5"]


def test_ranges_are_drawn_within_their_ends() -> None:
    rates = step("fine_tune", epochs=integer(1, 2), learning_rate=loguniform(1e-4, 1e-2))

    drawn = [
        recipe.steps[0].parameters for recipe in itertools.islice(draw_by_lot(random(1, recipe("vit", [rates]))), 50)
    ]

    assert {values["epochs"] for values in drawn} == {1, 2}
    assert all(1e-4 <= values["learning_rate"] <= 1e-2 for values in drawn)


def test_the_size_of_a_space() -> None:
    assert size(grid(recipe(choice("resnet", "vit"), [optional(PRUNE)]))) == 6
    assert size(random(1, recipe("resnet", [OPEN]))) is None


@pytest.mark.parametrize(
    ("space", "error", "says"),
    [
        (
            grid(recipe("resnet", [step("magnitude_prunning")])),
            UnknownOperationError,
            "did you mean 'magnitude_pruning'",
        ),
        (grid(recipe("alexnet")), InvalidRecipeError, "unknown base model 'alexnet'"),
        (grid(recipe("resnet", [step("calibrate", size=1)])), InvalidRecipeError, "no parameter 'size'"),
        (
            grid(recipe("vit", [step("quantize_weights"), step("fine_tune", epochs=1)])),
            InvalidRecipeError,
            "fine_tune works on models whose weights are float",
        ),
        # Only one end of the range is wrong, and only one of the optional steps makes it so.
        (
            random(1, recipe("resnet", [step("magnitude_pruning", sparsity=uniform(0.5, 1.5))])),
            InvalidRecipeError,
            "sparsity=1.5",
        ),
        (
            random(1, recipe("vit", [optional(step("quantize_weights")), OPEN])),
            InvalidRecipeError,
            "magnitude_pruning works on models",
        ),
        (
            grid(recipe("vit", [step("magnitude_pruning", sparsity=0.5), step("calibrate")])),
            InvalidRecipeError,
            r"step 2 of 'vit → magnitude_pruning.*calibrate\(batch_size=64\)': calibrate does not apply .* batch norm",
        ),
        (SearchSpace("s", "digits", [recipe("resnet")], {"acuracy": "higher"}), UnknownMetricError, "'accuracy'"),
        (SearchSpace("s", "digit", [recipe("resnet")]), UnknownTaskError, "did you mean 'digits'"),
    ],
    ids=["operation", "base", "parameter", "chain", "range", "optional", "no-batch-norm", "objective", "task"],
)
def test_what_cannot_run_is_found_before_anything_runs(space: SearchSpace, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        check(space)
