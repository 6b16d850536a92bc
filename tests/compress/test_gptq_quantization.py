import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cc_ray.compress.inputs import input_moments
from cc_ray.compress.targets import layer_weights
from cc_ray.errors import NotApplicableError
from cc_ray.store.artifacts import scale_of
from tests.compress.tiny import TASK, base_model, context, outputs, run
from tests.seeds import drawn_from

Floats = NDArray[np.float64]
with drawn_from(0):
    LAYERS = {
        "linear": nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
        "transposed": nn.Sequential(nn.Flatten(), Conv1D(4, 64)),
        # Neighbours are alike, as in pictures: there is something to make up errors with.
        "convolution": nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.PixelUnshuffle(2), nn.Conv2d(4, 4, 3), nn.Flatten()),
        "grouped": nn.Sequential(
            nn.AvgPool2d(3, 1, 1), nn.PixelUnshuffle(4), nn.Conv2d(16, 4, 2, groups=2), nn.Flatten()
        ),
    }


def exact(weights: Floats, moments: Floats, scale: Floats) -> Floats:
    """Optimal brain quantization of one row, column by column: after each, the inverse is worked out anew.

    What is left of the weights moves to where the squared error of the output is smallest, given those that are fixed.
    """
    left, rounded = weights.copy(), np.zeros_like(weights)
    for column in range(len(weights)):
        inverse = np.linalg.inv(moments[column:, column:])
        rounded[column] = np.clip(np.rint(left[column] / scale[column]), -3, 3) * scale[column]
        left[column:] -= (left[column] - rounded[column]) / inverse[0, 0] * inverse[0]
    return rounded


def moments_of(model: nn.Module) -> Tensor:
    moments = input_moments(model, layer_weights(model), context("mlp"), 48)
    return next(iter(moments.values())).double()


def test_it_is_optimal_brain_quantization_in_a_fixed_order() -> None:
    model = LAYERS["linear"]
    (old,) = layer_weights(model)
    moments = moments_of(model)[0]
    moments += 0.01 * moments.diagonal().mean() * torch.eye(64)

    child = run("gptq_quantization", model, bits=3).model

    (new,) = layer_weights(child)
    scale = scale_of(new.module)
    assert scale is not None and torch.allclose(scale[:, 0], old.tensor.abs().amax(1) / 3)
    for row in range(4):
        weights, step = old.tensor[row].detach().double().numpy(), np.full(64, scale[row].item())
        assert np.allclose(new.tensor[row].detach().numpy(), exact(weights, moments.numpy(), step), atol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    "more", [{}, {"ordered": True}, {"granularity": "tensor"}, {"granularity": "group", "group_size": 8}], ids=str
)
def test_outputs_come_closer_than_by_rounding(kind: str, more: dict[str, Any]) -> None:
    model = copy.deepcopy(LAYERS[kind]).eval()
    grids = {name: value for name, value in more.items() if name != "ordered"}
    inputs = TASK.data("calibration").inputs

    plain, careful = (
        run(name, model, bits=3, **given).model
        for name, given in (("uniform_quantization", grids), ("gptq_quantization", more))
    )

    with torch.no_grad():
        errors = [(child(inputs) - model(inputs)).norm() for child in (plain, careful)]
    assert errors[1] < 0.9 * errors[0]
    for old, new in zip(layer_weights(plain), layer_weights(careful), strict=True):
        shapes = [scale_of(each.module).shape for each in (old, new)]  # type: ignore[union-attr]
        assert shapes[0] == shapes[1]


def test_a_whole_model_comes_closer_too() -> None:
    model = base_model("vit")

    errors = [
        (outputs(run(name, model, bits=3).model) - outputs(model)).norm()
        for name in ("uniform_quantization", "gptq_quantization")
    ]

    assert errors[1] < 0.5 * errors[0]


def test_zeros_stay_zero_and_are_made_up_for() -> None:
    sparse = run("magnitude_pruning", base_model("vit"), sparsity=0.5).model

    child = run("gptq_quantization", sparse, bits=4).model

    for old, new in zip(layer_weights(sparse), layer_weights(child), strict=True):
        assert not new.tensor[old.tensor == 0].any()


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4)).eval()
    with torch.no_grad():
        model.get_parameter("1.bias")[:3] = -100.0

    child = run("gptq_quantization", model, bits=4).model

    assert child.get_parameter("3.weight").isfinite().all()


def test_what_has_no_inputs_that_can_be_told_is_refused() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(1, 2, 3), nn.Flatten())

    with pytest.raises(NotApplicableError, match=r"none of '0\.weight' .*uniform_quantization for others"):
        run("gptq_quantization", model, bits=4)
