"""Layers that multiply integers, against the same rounding done in floats."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cc_ray.errors import StoreError
from cc_ray.store.artifacts import is_quantized, load_model, save_model
from cc_ray.store.layout import Draft
from cc_ray.store.low_bit import TOP, StaticInt8
from tests.seeds import drawn_from

with drawn_from(0):
    LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "linear": (nn.Linear(20, 7), (5, 3, 20)),
        "no bias": (nn.Linear(20, 7, bias=False), (5, 20)),
        "conv": (nn.Conv2d(4, 6, 3, padding=1, stride=2), (5, 4, 9, 9)),
        "depthwise": (nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=4), (5, 4, 9, 9)),
        "reflected": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (5, 4, 9, 9)),
    }
SCALE, ZERO = 0.02, 130


def layer(kind: str) -> tuple[nn.Module, nn.Module, Tensor]:
    """A layer whose weight is of integers, the same in floats, and inputs."""
    floats, shape = copy.deepcopy(LAYERS[kind][0]), LAYERS[kind][1]
    weight = floats.get_parameter("weight")
    scale = (weight.detach().flatten(1).abs().amax(1) / TOP).view(-1, *[1] * (weight.dim() - 1))
    held = StaticInt8.of(weight.detach(), scale, torch.tensor([SCALE, float(ZERO)]))
    integers = copy.deepcopy(floats)
    integers.weight = nn.Parameter(held, requires_grad=False)
    weight.data = held.dequantize()
    return integers, floats, torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_integers_give_what_rounded_floats_give(kind: str, channels_last: bool) -> None:
    integers, floats, inputs = layer(kind)
    # Zero stands for zero, so that padding is exact.
    rounded = ((inputs / SCALE + ZERO + 0.5).floor().clamp(0, 255) - ZERO) * SCALE
    if channels_last and inputs.dim() == 4:
        inputs = inputs.to(memory_format=torch.channels_last)

    with torch.no_grad():
        assert torch.allclose(integers(inputs), floats(rounded), atol=1e-5)


def test_the_largest_integers_do_not_overflow() -> None:
    integers = nn.Linear(64, 2, bias=False)
    weight = torch.stack([torch.ones(64), -torch.ones(64)])
    held = StaticInt8.of(weight, torch.full((2, 1), 1 / TOP), torch.tensor([1.0, 0.0]))
    integers.weight = nn.Parameter(held, requires_grad=False)

    assert torch.allclose(integers(torch.full((1, 64), 255.0)), torch.tensor([[255.0 * 64, -255.0 * 64]]), rtol=1e-5)


def test_it_is_copied_and_saved_as_what_it_is(tmp_path: Path) -> None:
    integers, _, inputs = layer("conv")

    saved = save_model(Draft(tmp_path), integers)
    loaded = load_model(Draft(tmp_path), saved.digest, LAYERS["conv"][0])
    copied = copy.deepcopy(integers)

    for other in (loaded, copied, copy.deepcopy(integers).to("cpu")):
        weight = other.get_parameter("weight")
        assert isinstance(weight, StaticInt8) and isinstance(weight, nn.Parameter) and is_quantized(weight)
        assert torch.equal(other(inputs), integers(inputs))
    assert saved.tensor_bytes["weight"] <= 6 * 36 * 7 // 8 + 6 * 4 + 2 + 2 * 4


def test_to_all_else_it_is_its_values_and_cannot_be_changed() -> None:
    integers, floats, _ = layer("linear")
    weight = integers.get_parameter("weight")

    assert torch.equal(weight.abs().sum(), floats.get_parameter("weight").detach().abs().sum())
    assert int((weight == 0).sum()) == int((floats.get_parameter("weight") == 0).sum())
    with pytest.raises(TypeError, match="cannot be changed"):
        weight.detach().zero_()


def test_a_file_that_tells_nonsense_of_the_inputs_is_refused(tmp_path: Path) -> None:
    integers, _, _ = layer("linear")
    weight = integers.get_parameter("weight")
    assert isinstance(weight, StaticInt8)
    weight.input.fill_(float("nan"))
    saved = save_model(Draft(tmp_path), integers)

    with pytest.raises(StoreError, match="'weight' is no static_int8 weight: what it says of its inputs is no"):
        load_model(Draft(tmp_path), saved.digest, LAYERS["linear"][0])
