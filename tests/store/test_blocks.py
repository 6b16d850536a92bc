from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cc_ray.errors import StoreError
from cc_ray.store.artifacts import save_model, set_palette, set_scale
from cc_ray.store.blocks import BLOCK, open_blocks, verify_all
from cc_ray.store.layout import Draft
from cc_ray.store.weights import read_weights


def every_encoding() -> nn.Module:
    """A model whose tensors are saved in as many ways as there are."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = nn.Sequential(*(nn.Linear(301, 259) for _ in range(8)), nn.BatchNorm1d(3), *_on_grids()).eval()
    model.register_parameter("scalar", nn.Parameter(torch.tensor(2.5)))
    generator = torch.Generator().manual_seed(0)
    for index, zeros in ((1, 0.9), (3, 0.8), (5, 0.9)):
        weight = model.get_parameter(f"{index}.weight").data
        weight[torch.rand(weight.shape, generator=generator) < zeros] = 0
    for index, levels in ((2, 7), (3, 3), (4, 60), (6, 1)):
        weight = model.get_parameter(f"{index}.weight").data
        scale = weight.abs().amax(1, keepdim=True) / levels
        weight.copy_((weight / scale).round().int() * scale)
        set_scale(model.get_submodule(str(index)), scale)
    quantize_(model, Int8WeightOnlyConfig(set_inductor_config=False), filter_fn=lambda module, path: path in {"0", "5"})
    model.get_submodule("7").to(torch.bfloat16)
    return model


def _on_grids() -> list[nn.Module]:
    """Layers on grids of groups, of 8-bit floats and of palettes, dense and sparse."""
    layers: list[nn.Module] = []
    for zeros in (0.0, 0.9):
        groups, floats, palettes = (nn.Linear(301, 259, bias=False) for _ in range(3))
        for layer in (groups, floats, palettes):
            layer.weight.data[torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(1)) < zeros] = 0
        scale = torch.full((259, 5), 0.01)
        groups.weight.data = (groups.weight.data / 0.01).round() * 0.01 + 0.0
        floats.weight.data = ((floats.weight.data * 1000).to(torch.float8_e4m3fn).float() + 0.0) * 0.001
        palette = torch.linspace(-0.06, 0.06, 6).expand(7, 1, 6).contiguous()
        nearest = palette[0, 0][torch.bucketize(palettes.weight.data, palette[0, 0]).clamp_max(5)]
        palettes.weight.data = torch.where(palettes.weight.data == 0, 0.0, nearest)
        set_scale(groups, scale)
        set_scale(floats, torch.full((1, 1), 0.001))
        set_palette(palettes, palette)
        layers += [groups, floats, palettes]
    return layers


def test_blocks_equal_the_whole_tensors_whatever_the_encoding(tmp_path: Path) -> None:
    layout = Draft(tmp_path)
    saved = save_model(layout, every_encoding())
    weights = read_weights(layout, saved.digest)

    with open_blocks(layout, saved.digest) as file:
        for name in weights:
            expected, tensor = weights[name].values, file.tensor(name)
            middle = expected.ravel()[8 : 8 + BLOCK + 5]
            assert np.array_equal(tensor.whole(), expected), name
            assert np.array_equal(tensor.values(8, 8 + len(middle)), middle), name
            assert np.array_equal(tensor.mask(0, tensor.size), np.packbits(expected != 0)), name
            assert np.array_equal(tensor.mask(8, 8 + len(middle)), np.packbits(middle != 0)), name
    assert {weights[name].dtype for name in weights} >= {
        "float32",
        "bfloat16",
        "int8",
        "uint2",
        "uint3",
        "uint4",
        "uint7",
    }
    assert weights["10.weight"].dtype == weights["13.weight"].dtype == "float8_e4m3fn"


def test_minus_zero_is_zero_in_a_mask(tmp_path: Path) -> None:
    model = nn.Linear(64, 64, bias=False)
    model.weight.data.zero_()
    model.weight.data[0, :2] = torch.tensor([-0.0, 1.0])
    saved = save_model(Draft(tmp_path), model)

    with open_blocks(Draft(tmp_path), saved.digest) as file:
        assert int(np.bitwise_count(file.tensor("weight").mask(0, 64 * 64)).sum()) == 1


def test_counters_are_no_weights(tmp_path: Path) -> None:
    saved = save_model(Draft(tmp_path), nn.BatchNorm1d(2))

    with open_blocks(Draft(tmp_path), saved.digest) as file:
        assert "running_mean" in file
        assert "num_batches_tracked" not in file


def test_damage_is_found_when_a_file_is_opened(tmp_path: Path) -> None:
    saved = save_model(Draft(tmp_path), nn.Linear(3, 3))
    path = Draft(tmp_path).artifact(saved.digest)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")

    verify_all(Draft(tmp_path), [saved.digest, "0" * 64])

    with pytest.raises(StoreError, match="is damaged"), open_blocks(Draft(tmp_path), saved.digest):
        pass
