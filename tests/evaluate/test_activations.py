import copy

import numpy as np
import pytest
import torch
from torch import nn

from cc_ray.evaluate.activations import (
    MAX_CHANNELS,
    SAMPLE_SIZE,
    activations,
    isolated,
    of_instances,
    record,
    reduced,
    sample,
)
from cc_ray.schema import ACTIVATIONS
from cc_ray.store.tables import conform
from cc_ray.tasks.digits import Digits
from tests.evaluate.tiny import Tiny


def test_a_module_is_described_over_the_sample() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()
    model.load_state_dict({"0.weight": -torch.eye(2), "0.bias": torch.ones(2)})

    rows = {row["layer"]: row for row in activations(Tiny(), model, Tiny().data("evaluation"))}
    # 1 - x for inputs (2, 0), (0, 1), (0, 3), (1, 0)
    expected = np.array([[-1, 1], [1, 0], [1, -2], [0, 1]], float)

    assert rows["0"]["values"] == expected.ravel().tolist()
    assert rows["1"]["values"] == expected.clip(0).ravel().tolist()
    assert rows["0"]["mean"] == pytest.approx(expected.mean())
    assert rows["0"]["std"] == pytest.approx(expected.std())
    assert rows["1"]["zeros"] == 0.5
    assert sum(rows["1"]["histogram"]) == 8
    assert (rows["0"]["module"], rows["0"]["shape"]) == ("Linear", [4, 2])
    assert rows["0"]["instances"] == [10, 11, 12, 13]


@pytest.mark.parametrize("base", Digits.bases)
def test_rows_of_a_real_model_fit_the_table_and_the_model_is_left_as_it_was(base: str) -> None:
    model = Digits().build(base)

    rows = [{"model_id": "m", **row} for row in activations(Digits(), model, Digits().data("evaluation"))]

    assert conform(ACTIVATIONS, rows).num_rows == len(rows) > 20
    assert all(len(row["values"]) == SAMPLE_SIZE * row["shape"][1] for row in rows)
    assert not any(module._forward_hooks for module in model.modules())


def test_values_are_kept_by_channel_whatever_the_size() -> None:
    image = torch.rand(2, 3, 4, 5)
    tokens = torch.rand(2, 7, 3)

    assert torch.allclose(reduced(image), image.mean((2, 3)))
    assert torch.allclose(reduced(tokens), tokens.mean(1))
    assert torch.equal(reduced(torch.ones(2, 3)), torch.ones(2, 3))
    assert reduced(torch.ones(2)).shape == (2, 1)
    assert reduced(torch.ones(2, MAX_CHANNELS + 1)).shape == (2, MAX_CHANNELS)


def test_a_following_module_that_works_in_place_does_not_spoil_the_record() -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(2, 2), nn.ReLU(inplace=True))

    found = record(Tiny(), model, torch.tensor([[5.0, -5.0]]))

    assert list(found) == ["1", "2"]
    assert torch.equal(found["1"].clamp(min=0), found["2"])
    assert torch.allclose(found["1"].float(), model[1](torch.tensor([[5.0, -5.0]])))


def test_the_sample_is_spread_and_never_longer_than_the_data() -> None:
    assert sample(4).tolist() == [0, 1, 2, 3]
    assert sample(1).tolist() == [0]
    assert len(set(sample(1000).tolist())) == SAMPLE_SIZE
    assert sample(1000)[-1] == 999


def test_broken_outputs_are_recorded() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        model.get_parameter("0.bias").copy_(torch.tensor([torch.inf, torch.nan]))

    row = next(activations(Tiny(), model, Tiny().data("evaluation")))

    assert sum(row["histogram"]) == 0
    assert np.isnan(row["mean"])


def test_a_module_alone_is_fed_with_what_its_parents_is_fed() -> None:
    parent = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True), nn.Linear(2, 2), nn.Linear(2, 2)).eval()
    child = copy.deepcopy(parent)
    with torch.no_grad():
        child.get_parameter("0.weight").add_(0.5)
        child.get_parameter("2.bias").add_(1.0)
    inputs = Tiny().data("evaluation").inputs

    found = isolated(Tiny(), child, parent, inputs)

    before, after = record(Tiny(), parent, inputs), record(Tiny(), child, inputs)
    assert set(found) == {"0", "2", "3"}
    assert found["0"] == pytest.approx(sqnr_db(before["0"], after["0"]))
    assert found["2"] == pytest.approx(sqnr_db(before["2"], before["2"] + 1.0), rel=1e-5)
    assert found["3"] is None
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in parent.modules())


def sqnr_db(parent: torch.Tensor, model: torch.Tensor) -> float:
    return float(20 * (parent.norm() / (parent - model).norm()).log10())


def test_modules_of_another_shape_have_no_error_of_their_own() -> None:
    parent = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2)).eval()
    child = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).eval()

    rows = list(activations(Tiny(), child, Tiny().data("evaluation"), parent))

    assert [row["isolated_sqnr_db"] for row in rows] == [None, None]


def test_outputs_are_brought_to_their_instances() -> None:
    once, behind_each_other = torch.arange(6.0).reshape(1, 2, 3), torch.arange(12.0).reshape(4, 3)

    assert torch.equal(of_instances(once, 2), once.repeat(2, 1, 1))  # type: ignore[arg-type]
    assert torch.equal(of_instances(behind_each_other, 2), behind_each_other.reshape(2, 2, 3))  # type: ignore[arg-type]
    assert of_instances(behind_each_other, 3) is None
    assert of_instances(torch.tensor(1.0), 2) is None
