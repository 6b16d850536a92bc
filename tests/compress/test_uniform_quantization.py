import pytest
import torch
from torch import Tensor, nn

from cc_ray.compress.targets import layer_weights
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
