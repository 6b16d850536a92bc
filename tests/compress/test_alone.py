import pytest
import torch
from torch import nn

from cc_ray.compress import apply_step, operation_of, operations, validated_step
from cc_ray.compress.alone import compress_alone, partly_copied
from cc_ray.compress.targets import Targeted
from cc_ray.errors import NotApplicableError
from cc_ray.recipe import Step
from tests.compress.test_conformance import assert_equal
from tests.compress.tiny import base_model, context, outputs, tensors

CONFINED = [name for name, kind in operations.items() if issubclass(kind, Targeted) and kind.confined]


def first_layer(name: str, base: str) -> Step:
    """A step of an operation on the first layer that it can work on."""
    step = validated_step(Step(name, operations[name].examples[0]))
    made = operation_of(step)
    assert isinstance(made, Targeted)
    return validated_step(Step(name, {**step.parameters, "include": [made.targets(base_model(base))[0].path]}))


@pytest.mark.parametrize("base", ["cnn", "vit"])
@pytest.mark.parametrize("name", CONFINED)
def test_a_confined_operation_touches_its_targets_and_shares_the_rest(name: str, base: str) -> None:
    model, step = base_model(base), first_layer(name, base)
    before, (layer,) = tensors(model), step.parameters["include"]

    child = compress_alone(step, model, context(base))

    assert_equal(tensors(model), before)
    for path, parameter in child.named_parameters():
        if path.startswith(f"{layer}."):
            assert parameter is not model.get_parameter(path)
        else:
            assert parameter is model.get_parameter(path)
    assert torch.equal(outputs(child), outputs(apply_step(step, model, context(base)).model))


def test_one_that_is_not_confined_gets_a_whole_copy() -> None:
    model, step = base_model("vit"), Step("channel_pruning", {"ratio": 0.5, "include": ["vit.layers.0.mlp.fc1"]})
    before = tensors(model)

    child = compress_alone(step, model, context("vit"))

    assert_equal(tensors(model), before)
    assert not {id(each) for each in model.parameters()} & {id(each) for each in child.parameters()}
    assert torch.equal(outputs(child), outputs(apply_step(step, model, context("vit")).model))


def test_what_has_no_target_is_told() -> None:
    with pytest.raises(NotApplicableError):
        compress_alone(Step("quantize_weights", {"include": ["stem"]}), base_model("cnn"), context("cnn"))


def test_tied_tensors_stay_tied_where_they_are_copied() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[2].weight = model[0].weight

    copied = partly_copied(model, ["0"])

    assert copied.get_parameter("2.weight") is copied.get_parameter("0.weight") is not model[0].weight
    assert copied.get_parameter("1.weight") is model[1].weight and copied.get_parameter("2.bias") is model[2].bias
