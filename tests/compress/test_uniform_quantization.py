from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from cc_ray.compress.targets import layer_weights
from cc_ray.errors import InvalidRecipeError
from cc_ray.store.artifacts import scale_of
from tests.compress.tiny import base_model, outputs, run, tensors


def levels(tensor: Tensor) -> int:
    return len(set(tensor.flatten().tolist()))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_channels_lie_on_their_own_grid_of_as_many_values(bits: int, symmetric: bool) -> None:
    before = base_model("cnn")
    after = run("uniform_quantization", before, bits=bits, symmetric=symmetric).model

    for old, new in zip(layer_weights(before), layer_weights(after), strict=True):
        scale = scale_of(new.module)
        assert scale is not None and scale.numel() == new.tensor.shape[0]
        steps = new.tensor / scale
        assert torch.allclose(steps, steps.round(), atol=1e-3)
        assert max(levels(channel) for channel in new.tensor) <= 2**bits - symmetric
        assert ((old.tensor - new.tensor).abs() <= scale * 0.501 + (0 if symmetric else 0.5 * scale)).all()


def test_one_grid_for_a_tensor() -> None:
    model = run("uniform_quantization", base_model("cnn"), bits=3, granularity="tensor").model

    for target in layer_weights(model):
        scale = scale_of(target.module)
        assert scale is not None and scale.numel() == 1
        assert levels(target.tensor) <= 7


@pytest.mark.parametrize("symmetric", [True, False])
def test_groups_of_inputs_have_grids_of_their_own(symmetric: bool) -> None:
    before, groups = base_model("cnn"), dict[str, Any](granularity="group", group_size=40)
    after = run("uniform_quantization", before, bits=3, symmetric=symmetric, **groups).model

    # Eight inputs with kernels of nine weights: two groups of four inputs each.
    old, new = (model.get_parameter("first.0.weight").detach() for model in (before, after))
    scale = scale_of(after.get_submodule("first.0"))
    assert scale is not None and scale.shape == (12, 2, 1, 1)
    for channel in range(12):
        for group in range(2):
            part, rounded = (each[channel, 4 * group : 4 * group + 4].flatten() for each in (old, new))
            low, high = min(float(part.min()), 0.0), max(float(part.max()), 0.0)
            step = max(-low, high) / 3 if symmetric else (high - low) / 7
            assert float(scale[channel, group]) == pytest.approx(step, rel=1e-3)
            assert len(set(rounded.tolist())) <= 8 - symmetric
            assert (part - rounded).abs().max() <= step * (0.51 if symmetric else 1.01)
    head = scale_of(after.get_submodule("head"))
    assert head is not None and head.shape == (4, 1)


def test_groups_of_a_transposed_layer_lie_along_its_inputs() -> None:
    model = nn.Sequential(nn.Flatten(), Conv1D(4, 64)).eval()

    after = run("uniform_quantization", model, bits=2, granularity="group", group_size=16).model

    scale = scale_of(after.get_submodule("1"))
    assert scale is not None and scale.shape == (4, 4)
    expected = model.get_parameter("1.weight").detach().reshape(4, 16, -1).abs().amax(1)
    assert torch.allclose(scale, expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"granularity": "group"}, "group_size=None: .*granularity 'group' needs it, such as 32"),
        ({"group_size": 32}, "group_size=32: .*only granularity 'group' has groups"),
    ],
)
def test_a_group_size_goes_with_groups(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRecipeError, match=said):
        run("uniform_quantization", base_model("cnn"), bits=4, **parameters)


@pytest.mark.parametrize("symmetric", [True, False])
def test_zeros_stay_zero(symmetric: bool) -> None:
    sparse = run("magnitude_pruning", base_model("cnn"), sparsity=0.5).model

    model = run("uniform_quantization", sparse, bits=4, symmetric=symmetric).model

    old, new = tensors(sparse), tensors(model)
    assert all(bool((new[name][old[name] == 0] == 0).all()) for name in old)


def test_more_bits_come_closer() -> None:
    model = base_model("vit")
    errors = [(outputs(run("uniform_quantization", model, bits=b).model) - outputs(model)).norm() for b in (2, 4, 6, 8)]

    assert errors == sorted(errors, reverse=True)


def test_a_channel_of_zeros_is_no_division_by_zero() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with torch.no_grad():
        model.get_parameter("1.weight")[2] = 0.0

    child = run("uniform_quantization", model, bits=4).model

    assert child.get_parameter("1.weight").isfinite().all()


def test_a_named_bias_gets_one_grid() -> None:
    model = run("uniform_quantization", base_model("vit"), bits=2, include=["classifier.bias"]).model

    assert levels(model.get_parameter("classifier.bias")) <= 3


def test_a_coarser_grid_can_follow_a_finer_one() -> None:
    model = run("uniform_quantization", base_model("cnn"), bits=8).model

    model = run("uniform_quantization", model, bits=2).model

    assert levels(model.get_parameter("head.weight")[0]) <= 3
