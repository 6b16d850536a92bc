"""Layers that multiply 4-bit integers, against the values that these stand for."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cc_ray.errors import StoreError
from cc_ray.store.artifacts import is_quantized, load_model, save_model
from cc_ray.store.blocks import open_blocks
from cc_ray.store.layout import Draft
from cc_ray.store.low_bit import GroupedInt4
from cc_ray.store.weights import read_weights
from tests.store.test_artifacts import forge

WITH_KERNEL = [(16, 64, 2), (7, 64, 1), (48, 512, 4), (5, 512, 2), (1, 96, 3)]
"""Outputs, inputs, groups."""
WITHOUT = [(7, 40, 2), (7, 41, 2), (3, 20, 1), (16, 64, 4), (2, 1, 1)]


def weight(outputs: int, inputs: int, groups: int) -> tuple[Tensor, Tensor]:
    """Values on grids of 16 numbers that lie around 0 in some groups and above or below it in others; and scales."""
    generator = torch.Generator().manual_seed(outputs)
    scale = torch.randint(16, 32, (outputs, groups), generator=generator) * 2.0**-9
    lowest = torch.randint(-15, 1, (outputs, groups), generator=generator)
    run = -(-inputs // groups)
    codes = torch.randint(16, (outputs, inputs), generator=generator)
    low, by_value = (each.repeat_interleave(run, 1)[:, :inputs] for each in (lowest, scale))
    return (codes + low) * by_value, scale


def layer(outputs: int, inputs: int, groups: int, bias: bool = True) -> nn.Linear:
    made = nn.Linear(inputs, outputs, bias)
    made.weight = nn.Parameter(GroupedInt4.of(*weight(outputs, inputs, groups)), requires_grad=False)
    return made


def fed(inputs: int, *shape: int) -> Tensor:
    return torch.randn(*shape, inputs, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", WITH_KERNEL, ids=str)
@pytest.mark.parametrize("batch", [(), (1,), (3, 5)], ids=str)
def test_codes_are_multiplied_as_the_values_that_they_stand_for(
    shape: tuple[int, int, int], batch: tuple[int, ...]
) -> None:
    held, (values, _), inputs = layer(*shape), weight(*shape), fed(shape[1], *batch)
    assert held.bias is not None

    found = held(inputs)

    assert torch.equal(held.weight.dequantize(), values)
    exact = inputs.bfloat16().double() @ values.bfloat16().double().T + held.bias
    assert (found - exact).abs().max() < 2**-7 * exact.abs().max()
    assert found.dtype == inputs.dtype and not found.requires_grad


@pytest.mark.parametrize("shape", WITH_KERNEL, ids=str)
def test_a_kernel_has_the_very_weights_in_bfloat16(shape: tuple[int, int, int]) -> None:
    """So zeros are zero, wherever a group's numbers lie."""
    held, (values, _) = layer(*shape, bias=False), weight(*shape)

    assert torch.equal(held(torch.eye(shape[1])), values.T.bfloat16().float())


@pytest.mark.parametrize("shape", WITHOUT, ids=str)
def test_other_shapes_are_multiplied_as_floats(shape: tuple[int, int, int]) -> None:
    held, (values, _), inputs = layer(*shape), weight(*shape), fed(shape[1], 3)

    assert isinstance(held.weight, GroupedInt4) and not held.weight.has_kernel
    assert torch.equal(held(inputs), nn.functional.linear(inputs, values, held.bias))


def test_an_empty_batch_gives_an_empty_one() -> None:
    assert layer(7, 64, 2)(torch.zeros(0, 64)).shape == (0, 7)


def test_a_model_of_bfloat16_takes_and_gives_bfloat16() -> None:
    held, inputs = layer(16, 64, 2), fed(64, 3)

    halved = copy.deepcopy(held).to(torch.bfloat16)

    assert isinstance(halved.weight, GroupedInt4)
    found = halved(inputs.bfloat16())
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), held(inputs), rtol=2**-6, atol=0.02)


@pytest.mark.parametrize("shape", [*WITH_KERNEL, *WITHOUT], ids=str)
def test_it_is_copied_and_saved_as_what_it_is(shape: tuple[int, int, int], tmp_path: Path) -> None:
    outputs, inputs, groups = shape
    held = layer(*shape)

    saved = save_model(Draft(tmp_path), held)
    loaded = load_model(Draft(tmp_path), saved.digest, nn.Linear(inputs, outputs))

    for other in (loaded, copy.deepcopy(held), copy.deepcopy(held).to("cpu")):
        there = other.get_parameter("weight")
        assert isinstance(there, GroupedInt4) and isinstance(there, nn.Parameter) and is_quantized(there)
        assert torch.equal(other(fed(inputs, 3)), held(fed(inputs, 3)))
    assert save_model(Draft(tmp_path), loaded) == saved
    # Half a byte a weight, a scale of 2 bytes and a byte for each group; where a row is a group, 4 and 2.
    assert inputs < 20 or saved.tensor_bytes["weight"] <= -(-outputs * inputs // 2) + outputs * groups * (
        3 if groups > 1 else 6
    )


def test_a_file_of_128_a_group_takes_four_and_a_quarter_bits(tmp_path: Path) -> None:
    saved = save_model(Draft(tmp_path), layer(64, 1024, 8))

    assert saved.tensor_bytes["weight"] * 8 / (64 * 1024) < 4.2


def test_it_is_read_without_torch(tmp_path: Path) -> None:
    held, (values, _) = layer(16, 64, 2), weight(16, 64, 2)
    saved = save_model(Draft(tmp_path), held)

    read = read_weights(Draft(tmp_path), saved.digest)["weight"]

    assert read.dtype == "uint4" and np.array_equal(read.values, values.numpy())
    with open_blocks(Draft(tmp_path), saved.digest) as file:
        assert np.array_equal(file.tensor("weight").whole(), values.numpy())


def test_to_all_else_it_is_its_values_and_cannot_be_changed() -> None:
    there, (values, _) = layer(16, 64, 2).weight, weight(16, 64, 2)

    assert torch.equal(there.abs().sum(), values.abs().sum())
    with pytest.raises(TypeError, match="cannot be changed"):
        there.detach().zero_()


@pytest.mark.parametrize("value", [float("nan"), 0.07, 16.0])
def test_values_off_the_grid_are_refused(value: float) -> None:
    values, scale = torch.ones(2, 64), torch.ones(2, 2)
    values[1, 40] = value

    with pytest.raises(ValueError, match="no 16 numbers"):
        GroupedInt4.of(values, scale)


CODED: dict[str, Any] = {"encoding": "codes", "dtype": "float32", "shape": [2, 64], "bits": 4, "scaled": True,
                         "blocked": True, "form": "grouped_int4"}  # fmt: skip
PARTS = {
    "weight#codes": np.full(64, 0x5A, np.uint8),
    "weight#offsets": np.full((2, 2), -8, np.int8),
    "weight#scale": np.ones((2, 2), np.float16),
}


def test_the_file_that_is_forged_below_is_sound_otherwise(tmp_path: Path) -> None:
    digest = forged(tmp_path, {}, {})

    weight = load_model(Draft(tmp_path), digest, nn.Linear(64, 2, bias=False)).get_parameter("weight")

    assert torch.equal(weight.dequantize(), torch.tensor([-3.0, 2.0]).repeat(2, 32))


@pytest.mark.parametrize(
    ("told", "parts"),
    [
        ({"bits": 8}, {"weight#codes": np.full(128, 200, np.uint8)}),
        ({}, {"weight#offsets": np.full((2, 2), 100, np.int8)}),
        ({}, {"weight#scale": np.full((2, 2), np.nan, np.float16)}),
        ({}, {"weight#scale": np.zeros((2, 2), np.float16)}),
        ({}, {"weight#scale": -np.ones((2, 2), np.float16)}),
        ({}, {"weight#scale": np.ones((1, 2), np.float16)}),
        ({}, {"weight#scale": np.ones((2, 63), np.float16)}),
        ({"shape": [10**9, 10**9]}, {}),
        ({"dtype": "float64"}, {"weight#scale": np.ones((2, 2))}),
        ({"scaled": False}, {"weight#scale": None}),
        ({"form": "static_int8"}, {"weight#input": np.ones(2, np.float32)}),
        ({"form": "dynamic_float8"}, {}),
        ({"form": "int3"}, {}),
    ],
)
def test_a_hostile_file_is_refused(told: dict[str, Any], parts: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is damaged"):
        load_model(Draft(tmp_path), forged(tmp_path, told, parts), nn.Linear(64, 2, bias=False))


def forged(root: Path, told: dict[str, Any], parts: dict[str, Any]) -> str:
    arrays: dict[str, Any] = {name: array for name, array in (PARTS | parts).items() if array is not None}
    return forge(Draft(root), json.dumps({"format": 3, "entries": {"weight": CODED | told}}), **arrays)
