import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import nn

from cc_ray.evaluate.layers import BINS, Layer, layers
from cc_ray.schema import LAYERS
from cc_ray.store.tables import conform
from cc_ray.store.weights import Weight
from tests.evaluate.tiny import saved


class Holder(nn.Module):
    """One parameter of its own."""

    def __init__(self, values: ArrayLike) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(values, dtype=torch.float32))


def one(values: ArrayLike, parent: ArrayLike | None = None) -> Layer:
    model = Holder(values)
    parent_weights = None if parent is None else saved(Holder(parent))
    return next(layers(model, saved(model), parent_weights))


def test_a_tensor_is_described_alone() -> None:
    layer = one([[3.0, 0.0, -4.0], [0.0, 0.0, 0.0]])

    assert (layer.layer, layer.tensor, layer.module) == ("", "scale", "Holder")
    assert (layer.shape, layer.dtype, layer.parameters, layer.zeros) == ([2, 3], "float32", 6, 4)
    assert (layer.l1, layer.l2, layer.min, layer.max) == (7.0, 5.0, -4.0, 3.0)
    assert layer.effective_bits == 32
    assert (layer.sqnr_db, layer.relative_change, layer.reshaped) == (None, None, False)
    assert layer.is_weight


def test_numbers_agree_with_numpy() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 30)).astype(np.float32)
    parent = (values + rng.normal(scale=0.1, size=values.shape)).astype(np.float32)

    layer = one(values, parent)
    noise = np.linalg.norm((values - parent).astype(float))

    assert layer.l1 == pytest.approx(np.abs(values).sum(dtype=float))
    assert layer.l2 == pytest.approx(np.linalg.norm(values.astype(float)))
    assert layer.relative_change == pytest.approx(noise / np.linalg.norm(parent.astype(float)))
    assert layer.sqnr_db == pytest.approx(20 * np.log10(np.linalg.norm(parent.astype(float)) / noise))


def test_the_histogram_is_symmetrical_counts_all_and_gives_zero_the_middle() -> None:
    layer = one([-1.0, 0.0, 0.0, 0.0, 2.0])
    edges = np.array(layer.histogram_edges)

    assert len(layer.histogram) == BINS and len(edges) == BINS + 1
    assert sum(layer.histogram) == 5
    assert layer.histogram[BINS // 2] == 3
    assert (edges[0], edges[-1]) == (-2, 2)
    assert np.allclose(edges, -edges[::-1])


def test_ten_times_smaller_is_a_change_of_nine_tenths() -> None:
    layer = one([1.0, 0.0], parent=[10.0, 0.0])

    assert layer.relative_change == pytest.approx(0.9)
    assert layer.sqnr_db == pytest.approx(20 * np.log10(1 / 0.9))


def test_an_unchanged_tensor_has_no_noise() -> None:
    layer = one([1.0, 2.0], parent=[1.0, 2.0])

    assert (layer.sqnr_db, layer.relative_change) == (None, 0.0)


def test_a_change_from_all_zeros_has_no_ratio() -> None:
    layer = one([1.0, 2.0], parent=[0.0, 0.0])

    assert (layer.sqnr_db, layer.relative_change) == (None, None)


def test_another_shape_is_flagged_and_not_compared() -> None:
    layer = one([1.0, 2.0], parent=[1.0, 2.0, 3.0])

    assert (layer.reshaped, layer.sqnr_db, layer.relative_change) == (True, None, None)


def test_broken_and_empty_tensors_are_described_too() -> None:
    broken = one([1.0, torch.nan, torch.inf], parent=[1.0, 1.0, torch.inf])
    empty = one([])

    assert sum(broken.histogram) == 1
    assert (broken.sqnr_db, broken.relative_change) == (None, None)
    assert (empty.parameters, sum(empty.histogram), empty.effective_bits) == (0, 0, 0)


def test_every_parameter_has_a_row_that_fits_the_table() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2)))

    rows = [layer.row("m") for layer in layers(model, saved(model))]

    assert [(row["layer"], row["tensor"], row["module"]) for row in rows] == [
        ("0", "weight", "Conv2d"),
        ("0", "bias", "Conv2d"),
        ("1", "weight", "BatchNorm2d"),
        ("1", "bias", "BatchNorm2d"),
        ("2.0", "weight", "Linear"),
        ("2.0", "bias", "Linear"),
    ]
    assert conform(LAYERS, rows).num_rows == 6


def test_a_tied_parameter_comes_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight

    names = [f"{layer.layer}.{layer.tensor}" for layer in layers(model, saved(model))]

    assert names == ["0.weight", "0.bias", "1.bias"]


def test_stored_type_and_bytes_are_those_of_the_file() -> None:
    model = Holder([[1.0, 0.5]])

    layer = next(layers(model, {"scale": Weight(np.array([[1.0, 0.5]], np.float32), "uint4", 3)}))

    assert (layer.dtype, layer.effective_bits) == ("uint4", 12.0)


def test_what_a_reshaped_tensor_kept_is_told_and_of_others_nothing() -> None:
    model, parent = Holder([1.0, 3.0]), Holder([1.0, 2.0, 3.0])

    reshaped = next(layers(model, saved(model), saved(parent), {"scale": [[0, 2]]}))
    same = next(layers(model, saved(model), saved(model), {"scale": [[0, 2]]}))

    assert (reshaped.kept, same.kept) == ([[0, 2]], None)
