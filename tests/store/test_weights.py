import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cc_ray.errors import StoreError
from cc_ray.store.artifacts import save_model, set_scale
from cc_ray.store.layout import Draft
from cc_ray.store.weights import read_weights


def test_real_values_come_back_whatever_the_encoding(tmp_path: Path) -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64), nn.BatchNorm1d(64)).eval()
    dense, sparse, grid = (model.get_parameter(f"{index}.weight").data for index in range(3))
    sparse[:, 8:] = 0
    scale = grid.abs().amax(1, keepdim=True) / 7
    grid.copy_((grid / scale).round().int() * scale)
    set_scale(model.get_submodule("2"), scale)
    quantize_(model, Int8WeightOnlyConfig(set_inductor_config=False), filter_fn=lambda module, path: path == "0")
    del dense

    saved = save_model(Draft(tmp_path), model)
    weights = read_weights(Draft(tmp_path), saved.digest)

    quantized = model.get_parameter("0.weight").dequantize()
    assert np.array_equal(weights["0.weight"].values, quantized.numpy())
    assert np.array_equal(weights["1.weight"].values, sparse.numpy())
    assert np.array_equal(weights["2.weight"].values, grid.numpy())
    assert [weights[f"{index}.weight"].dtype for index in range(3)] == ["int8", "float32", "uint4"]
    assert {name: weights[name].stored_bytes for name in weights}.items() <= saved.tensor_bytes.items()
    assert all(weight.values.dtype == np.float32 for weight in weights.values())


def test_float_parameters_and_buffers_are_there_counters_are_not(tmp_path: Path) -> None:
    saved = save_model(Draft(tmp_path), nn.BatchNorm1d(2))

    weights = read_weights(Draft(tmp_path), saved.digest)

    assert list(weights) == ["bias", "running_mean", "running_var", "weight"]
    assert len(weights) == 4
    assert "num_batches_tracked" not in weights
    with pytest.raises(KeyError):
        weights["num_batches_tracked"]


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    model = nn.Linear(3, 3).to(torch.bfloat16)
    saved = save_model(Draft(tmp_path), model)

    weight = read_weights(Draft(tmp_path), saved.digest)["weight"]

    assert np.array_equal(weight.values, model.weight.detach().float().numpy())
    assert (weight.dtype, weight.stored_bytes) == ("bfloat16", 18)


def test_damage_is_found_before_numbers_are_shown(tmp_path: Path) -> None:
    saved = save_model(Draft(tmp_path), nn.Linear(3, 3))
    file = Draft(tmp_path).artifact(saved.digest)
    assert len(read_weights(Draft(tmp_path), saved.digest)) == 2
    file.write_bytes(file.read_bytes()[:-1] + b"\0")

    with pytest.raises(StoreError, match="is damaged: its bytes have the digest"):
        read_weights(Draft(tmp_path), saved.digest)


def test_no_torch_is_needed() -> None:
    code = "import cc_ray.store.weights, sys; assert not {'torch', 'duckdb', 'ray'} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)
