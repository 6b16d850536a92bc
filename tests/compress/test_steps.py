import pytest

from cc_ray.compress import validated_recipe, validated_step
from cc_ray.errors import InvalidRecipeError, UnknownOperationError
from cc_ray.recipe import Recipe, Step


def recipe(*steps: Step, base: str = "cnn") -> Recipe:
    return validated_recipe(Recipe(base, steps), ["cnn", "vit"])


PRUNE = Step("magnitude_pruning", {"sparsity": 0.5})
SIMULATE = Step("uniform_quantization", {"bits": 4})
TUNE = Step("fine_tune", {"epochs": 1})


def test_a_step_gets_every_parameter_in_its_canonical_form() -> None:
    step = validated_step(Step("magnitude_pruning", {"sparsity": 0, "include": ("b", "a", "b")}))

    assert step.parameters == {
        "sparsity": 0.0, "scope": "global", "include": ["a", "b"], "exclude": [], "levels": {}, "semi_structured": None,
    }  # fmt: skip
    assert isinstance(step.parameters["sparsity"], float)
    assert step.version == 1


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"sparsity": 1.0}, r"magnitude_pruning: sparsity=1.0: input should be less than 1 \(Share of the targeted"),
        ({"sparsity": -0.1}, "sparsity=-0.1: input should be greater than or equal to 0"),
        ({"sparsity": "0.5"}, "sparsity='0.5': input should be a valid number"),
        ({"sparsity": True}, "sparsity=True: input should be a valid number"),
        ({"sparsity": float("nan")}, "plain JSON data"),
        ({"sparsity": object()}, "plain JSON data"),
        ({}, r"parameter 'sparsity' is missing \(Share"),
        ({"sparsity": 0.5, "scope": "module"}, "scope='module': input should be 'global', 'layer' or 'row'"),
        ({"sparsity": 0.5, "scoop": "layer"}, "no parameter 'scoop'; did you mean 'scope'"),
        ({"sparsity": 0.5, "include": "head"}, "include='head': input should be a valid"),
        ({"sparsity": 2, "scope": 3}, "sparsity=2: .*; scope=3: "),
    ],
)
def test_what_does_not_fit_is_told_with_value_and_rule(parameters: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidRecipeError, match=said):
        validated_step(Step("magnitude_pruning", parameters))


def test_an_unknown_operation_names_the_nearest() -> None:
    with pytest.raises(UnknownOperationError, match="did you mean 'magnitude_pruning'"):
        validated_step(Step("magnitud_pruning"))


def test_a_good_recipe_is_canonical_and_stable() -> None:
    made = recipe(PRUNE, TUNE, SIMULATE, Step("calibrate"), Step("restore", {"include": ["head"], "from_step": 2}))

    assert made.steps[1].parameters == {
        "epochs": 1, "learning_rate": 0.001, "batch_size": 64, "warm_up": 0.3, "largest_gradient": None,
        "precision": "float32",
    }  # fmt: skip
    assert validated_recipe(made, ["cnn"]) == made
    assert Recipe.from_json(made.to_json()) == made


def test_an_unknown_base_names_the_nearest() -> None:
    with pytest.raises(InvalidRecipeError, match="unknown base model 'cn'; did you mean 'cnn'"):
        recipe(base="cn")


def test_training_after_quantization_is_refused_before_anything_runs() -> None:
    with pytest.raises(InvalidRecipeError, match=r"step 2 of 'cnn → .*fine_tune works on .* float, not simulated"):
        recipe(SIMULATE, TUNE)
    with pytest.raises(InvalidRecipeError, match="not quantized"):
        recipe(Step("quantize_weights"), Step("calibrate"), PRUNE)


@pytest.mark.parametrize("from_step", [1, 2, 7])
def test_restore_takes_from_before_its_parent(from_step: int) -> None:
    with pytest.raises(InvalidRecipeError, match="from_step must be 0 to 0"):
        recipe(PRUNE, Step("restore", {"include": ["head"], "from_step": from_step}))


def test_restore_cannot_come_first() -> None:
    with pytest.raises(InvalidRecipeError, match="nothing was changed before it"):
        recipe(Step("restore", {"include": ["head"]}))
