from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cc_ray.compress.palettization import _palette
from cc_ray.compress.targets import layer_weights
from cc_ray.store.artifacts import palette_of, save_model
from cc_ray.store.layout import Draft
from tests.compress.tiny import base_model, run


def best_error(values: list[float], count: int) -> float:
    """The smallest squared error of so many clusters: every way to cut the sorted values is tried."""
    ordered, errors = sorted(values), []
    for cuts in combinations(range(1, len(values)), count - 1):
        parts = np.split(np.array(ordered), cuts)
        errors.append(sum(float(np.square(part - part.mean()).sum()) for part in parts))
    return min(errors)


@pytest.mark.parametrize("seed", range(5))
def test_the_palette_comes_close_to_the_best_there_is(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=14)

    palette = _palette(values, 4, np.random.default_rng(0))

    error = np.square(values - palette[np.abs(values[:, None] - palette).argmin(1)]).sum()
    assert error <= 1.25 * best_error(values.tolist(), 4)
    assert (np.diff(palette) >= 0).all()


@pytest.mark.parametrize("channels", [None, 5])
def test_each_weight_takes_the_nearest_value_of_its_palette(channels: int | None) -> None:
    before = base_model("cnn")
    after = run("palettization", before, bits=2, channels=channels).model

    for old, new in zip(layer_weights(before), layer_weights(after), strict=True):
        palette = palette_of(new.module)
        assert palette is not None and palette.shape[-1] == 4
        rows = len(old.tensor)
        # Twelve channels in palettes of at most five: three palettes of four channels.
        run_of = -(-rows // -(-rows // (channels or rows)))
        assert palette.shape[0] == -(-rows // run_of)
        for row in range(rows):
            entries = palette[row // run_of].flatten()
            distance = (old.tensor[row].flatten()[:, None] - entries).abs()
            assert torch.allclose((old.tensor[row] - new.tensor[row]).abs().flatten(), distance.amin(1), atol=1e-6)
            assert set(new.tensor[row].flatten().tolist()) <= set(entries.tolist())


def test_zeros_stay_zero_and_nothing_else_becomes_zero() -> None:
    sparse = run("magnitude_pruning", base_model("cnn"), sparsity=0.6).model

    child = run("palettization", sparse, bits=2).model

    for old, new in zip(layer_weights(sparse), layer_weights(child), strict=True):
        assert torch.equal(old.tensor == 0, new.tensor == 0)
        assert len(torch.unique(new.tensor)) <= 4


def test_it_is_saved_in_its_bits(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 400, bias=False))

    child = run("palettization", model, bits=3).model

    saved = save_model(Draft(tmp_path), child)
    assert saved.tensor_bytes["1.weight"] == 64 * 400 * 3 // 8 + 8 * 4
    assert saved.size_bytes < saved.tensor_bytes["1.weight"] + 600


def test_pruned_afterwards_it_keeps_its_bits(tmp_path: Path) -> None:
    palettized = run("palettization", nn.Sequential(nn.Flatten(), nn.Linear(64, 400, bias=False)), bits=3).model

    child = run("magnitude_pruning", palettized, sparsity=0.9).model

    assert save_model(Draft(tmp_path), child).tensor_bytes["1.weight"] == 25600 // 8 + 2560 * 3 // 8 + 8 * 4


def test_a_grid_takes_the_place_of_a_palette_and_the_other_way_round() -> None:
    model = run("palettization", base_model("cnn"), bits=4).model

    rounded = run("uniform_quantization", model, bits=3).model
    again = run("palettization", rounded, bits=2).model

    assert palette_of(rounded.get_submodule("head")) is None
    assert palette_of(again.get_submodule("head")) is not None


def test_fewer_weights_than_values_stay_as_they_are() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval()

    child = run("palettization", model, bits=3, include=["1.bias"]).model

    assert torch.equal(child.get_parameter("1.bias"), model.get_parameter("1.bias"))
