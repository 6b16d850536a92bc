"""Layers whose weights and inputs are 8-bit floats; what GPUs do with them is tested in `tests/gpu/test_low_bit.py`."""

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
from cc_ray.store.layout import Draft
from cc_ray.store.low_bit import LARGEST, DynamicFloat8
from cc_ray.store.weights import read_weights
from tests.store.test_artifacts import forge


def weight(by_row: bool = True) -> tuple[Tensor, Tensor]:
    """Values that are 8-bit floats times a scale, and the scale."""
    raw = torch.randn(24, 48, generator=torch.Generator().manual_seed(0))
    scale = (raw.abs().amax(1, keepdim=True) if by_row else raw.abs().amax().view(1, 1)) / LARGEST
    return ((raw / scale).to(torch.float8_e4m3fn).float() + 0.0) * scale, scale


def layer(by_row: bool = True) -> nn.Linear:
    made = nn.Linear(48, 24)
    made.weight = nn.Parameter(DynamicFloat8.of(*weight(by_row)), requires_grad=False)
    return made


INPUTS = torch.randn(5, 3, 48, generator=torch.Generator().manual_seed(1))


def rounded(rows: Tensor) -> Tensor:
    scale = rows.abs().amax(-1, keepdim=True) * (1 / LARGEST)
    return (rows / scale).to(torch.float8_e4m3fn).float() * scale


@pytest.mark.parametrize("by_row", [True, False])
def test_inputs_are_rounded_row_by_row(by_row: bool) -> None:
    held, (values, _) = layer(by_row), weight(by_row)

    found = held(INPUTS)

    assert torch.allclose(found, nn.functional.linear(rounded(INPUTS), values, held.bias), atol=1e-5)
    assert torch.allclose(held(INPUTS[:1]), found[:1], atol=1e-6), "others of a batch change nothing"
    assert not torch.equal(found, nn.functional.linear(INPUTS, values, held.bias))


@pytest.mark.parametrize("by_row", [True, False])
@pytest.mark.parametrize("outputs", [24, 7])
def test_the_kernel_gives_what_rounded_floats_give(by_row: bool, outputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU has a slow one of the same signature."""
    values, scale = weight(by_row)
    held = nn.Linear(48, outputs)
    held.weight = nn.Parameter(DynamicFloat8.of(values[:outputs], scale[:outputs]), requires_grad=False)
    expected = held(INPUTS)

    monkeypatch.setattr("cc_ray.store.low_bit.float8._has_kernel", lambda device: True)

    assert torch.allclose(held(INPUTS), expected, atol=1e-5)
    assert torch.equal(held(INPUTS[:0]), expected[:0])


def test_rows_of_zeros_and_of_extremes_stay_what_they_are() -> None:
    held, (values, _) = layer(), weight()
    rows = torch.zeros(4, 48)
    rows[1], rows[2], rows[3] = 1e-42, 1e36, INPUTS[0, 0] * 1e-20

    found = held(rows) - held.bias

    assert torch.equal(found[0], torch.zeros(24))
    assert found[[1, 3]].isfinite().all()
    assert torch.allclose(found[2] / 1e36, values.sum(1), atol=1e-3)


@pytest.mark.parametrize("by_row", [True, False])
def test_it_is_copied_saved_and_read_as_what_it_is(by_row: bool, tmp_path: Path) -> None:
    held, (values, scale) = layer(by_row), weight(by_row)

    saved = save_model(Draft(tmp_path), held)
    loaded = load_model(Draft(tmp_path), saved.digest, nn.Linear(48, 24))

    for other in (loaded, copy.deepcopy(held), copy.deepcopy(held).to("cpu"), copy.deepcopy(held).to(torch.bfloat16)):
        there = other.get_parameter("weight")
        assert isinstance(there, DynamicFloat8) and isinstance(there, nn.Parameter) and is_quantized(there)
        assert torch.equal(there.dequantize(), values)
    assert torch.equal(loaded(INPUTS), held(INPUTS))
    assert save_model(Draft(tmp_path), loaded) == saved
    assert saved.tensor_bytes["weight"] == 24 * 48 + 4 * scale.numel()
    read = read_weights(Draft(tmp_path), saved.digest)["weight"]
    assert read.dtype == "float8_e4m3fn" and np.array_equal(read.values, values.numpy())


CODED: dict[str, Any] = {"encoding": "float8", "dtype": "float32", "shape": [2, 16], "scaled": True,
                         "form": "dynamic_float8"}  # fmt: skip
PARTS = {"weight#codes": np.full(32, 0x5A, np.uint8), "weight#scale": np.ones((2, 1), np.float32)}


@pytest.mark.parametrize(
    ("told", "parts", "sound"),
    [
        ({}, {}, True),
        ({}, {"weight#scale": np.full((2, 1), np.inf, np.float32)}, False),
        ({}, {"weight#scale": np.ones((2, 16), np.float32)}, False),
        ({"shape": [2, 10**9]}, {}, False),
        ({"encoding": "dense"}, {"weight#codes": None, "weight": np.full((2, 16), 0.3, np.float32)}, False),
        ({"form": "grouped_int4"}, {}, False),
    ],
)
def test_a_hostile_file_is_refused(told: dict[str, Any], parts: dict[str, Any], sound: bool, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {name: array for name, array in (PARTS | parts).items() if array is not None}
    header = json.dumps({"format": 3, "entries": {"weight": CODED | told}})
    digest = forge(Draft(tmp_path), header, **arrays)

    if sound:
        load_model(Draft(tmp_path), digest, nn.Linear(16, 2, bias=False))
    else:
        with pytest.raises(StoreError, match="is damaged"):
            load_model(Draft(tmp_path), digest, nn.Linear(16, 2, bias=False))
