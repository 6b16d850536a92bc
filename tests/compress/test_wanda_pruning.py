import copy

import pytest
import torch
from torch import nn

from cc_ray.compress import Context, apply_step
from cc_ray.compress.targets import layer_weights
from cc_ray.recipe import Step
from tests.compress.test_inputs import INPUTS, LAYERS, Given
from tests.compress.tiny import TASK, base_model, checks, outputs, run


def test_what_goes_of_each_output_adds_least_to_it() -> None:
    model = base_model("mlp")
    inputs = TASK.data("calibration").inputs.flatten(1)
    hidden = torch.relu(inputs @ model.get_parameter("1.weight").T + model.get_parameter("1.bias"))
    norms = [inputs.norm(dim=0), hidden.norm(dim=0)]

    pruned = run("wanda_pruning", model, sparsity=0.5).model

    for before, after, norm in zip(layer_weights(model), layer_weights(pruned), norms, strict=True):
        scores = before.tensor.abs() * norm
        for score, kept in zip(scores, after.tensor != 0, strict=True):
            assert score[kept].min() >= score[~kept].max()
            assert int(kept.sum()) == len(score) // 2


def test_a_convolution_is_weighed_by_what_each_place_of_its_kernel_sees() -> None:
    model = copy.deepcopy(LAYERS["grouped"])
    assert isinstance(model, nn.Conv2d)
    step = Step("wanda_pruning", {"sparsity": 0.5, "scope": "layer"})

    pruned = apply_step(step, model, Context(Given(), 0, lambda index: model)).model

    scores = torch.empty_like(model.weight)
    for place in range(model.weight[0].numel()):
        tap = copy.deepcopy(model)
        with torch.no_grad():
            tap.weight.zero_().flatten(1)[:, place] = 1.0
            norms = tap(INPUTS[:128].square()).sum((0, 2, 3)).sqrt()
        scores.detach().flatten(1)[:, place] = model.weight.detach().flatten(1)[:, place].abs() * norms
    kept = pruned.get_parameter("weight") != 0
    assert scores[kept].min() >= scores[~kept].max()
    assert int(kept.sum()) == kept.numel() // 2


@pytest.mark.parametrize("operation", ["wanda_pruning", "sparsegpt_pruning"])
def test_a_layer_that_is_never_called_is_judged_by_magnitude_and_told(operation: str) -> None:
    model = base_model("cnn")
    model.add_module("unused", nn.Linear(8, 2))
    unused = model.get_parameter("unused.weight").detach().clone()

    outcome = (
        run(operation, model, sparsity=0.5, scope="layer")
        if operation == "wanda_pruning"
        else run(operation, model, sparsity=0.5)
    )

    kept = outcome.model.get_parameter("unused.weight")
    assert torch.equal(kept[kept != 0], unused[kept != 0])
    assert unused[kept != 0].abs().min() >= unused[kept == 0].abs().max()
    assert "1 layers were never called with calibration instances ('unused')" in checks(outcome)["layers_unreached"]


def test_kinds_of_layers_that_it_does_not_know_stay_and_are_told() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(1, 2, 3), nn.Flatten(), nn.Linear(200, 4)).eval()

    outcome = run("wanda_pruning", model, sparsity=0.5)

    assert "'0.weight' is of a kind whose inputs are not weighed" in checks(outcome)["targets_left_out"]
    assert outcome.model.get_parameter("0.weight").all()
    assert (outcome.model.get_parameter("2.weight") == 0).float().mean() == 0.5


def test_inputs_of_different_scale_are_where_it_beats_magnitude() -> None:
    model = base_model("mlp")
    with torch.no_grad():
        for parameter in (model.get_parameter("1.weight"), model.get_parameter("1.bias")):
            parameter[::2] *= 10
        model.get_parameter("3.weight")[:, ::2] /= 10

    errors = {
        operation: float((outputs(run(operation, model, sparsity=0.5, include=["3"]).model) - outputs(model)).norm())
        for operation in ("magnitude_pruning", "wanda_pruning")
    }

    assert errors["wanda_pruning"] < 0.8 * errors["magnitude_pruning"]
