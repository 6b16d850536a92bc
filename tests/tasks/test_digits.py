import io
from itertools import combinations
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cc_ray.errors import InvalidRecipeError
from cc_ray.schema import INSTANCES
from cc_ray.store.tables import conform
from cc_ray.tasks import Split, task_from_json, use_threads
from cc_ray.tasks.digits import Digits, shifted

SPLITS: tuple[Split, ...] = get_args(Split)
FINGERPRINT = "e7bc3a7c8f1eda75"
"""The split is part of the identity of every stored model: a change here makes all of them unknown."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    use_threads(1)


def images(split: Split) -> set[bytes]:
    return {image.numpy().tobytes() for image in Digits().data(split).inputs}


def test_the_splits_hold_every_image_once() -> None:
    held = torch.cat([Digits().data(split).instances for split in SPLITS])

    assert sorted(held.tolist()) == list(range(1797))


@pytest.mark.parametrize(("left", "right"), list(combinations(SPLITS, 2)))
def test_no_identity_and_no_image_is_in_two_splits(left: Split, right: Split) -> None:
    data = Digits().data

    assert not set(data(left).instances.tolist()) & set(data(right).instances.tolist())
    assert not images(left) & images(right)


def test_an_image_that_is_there_twice_stays_in_one_split(monkeypatch: pytest.MonkeyPatch) -> None:
    from cc_ray.tasks import digits

    pixels, labels = digits._images()
    doubled = np.concatenate([pixels, pixels]), np.concatenate([labels, (labels + 1) % 10])
    monkeypatch.setattr(digits, "_images", lambda: doubled)

    assignment = digits._assignment.__wrapped__()

    assert (assignment[: len(labels)] == assignment[len(labels) :]).all()


def test_the_split_is_stratified_and_large_enough_to_judge() -> None:
    sizes = {split: len(Digits().data(split)) for split in SPLITS}
    per_class = Digits().data("evaluation").labels.bincount()

    assert sizes == {"train": 1095, "calibration": 198, "evaluation": 504}
    assert per_class.min() >= 49 and per_class.max() <= 51


def test_the_split_is_fixed() -> None:
    assert Digits().data_fingerprint().startswith(FINGERPRINT)


def test_the_task_has_one_identity() -> None:
    assert Digits().task_id == Digits().task_id


def test_inputs_are_scaled_to_what_is_promised() -> None:
    data = Digits().data("train")

    assert data.inputs.shape[1:] == (1, 8, 8) and data.inputs.dtype == torch.float32
    assert [float(data.inputs.min()), float(data.inputs.max())] == [-1, 1]


def test_the_evaluation_instances_are_shown_as_images() -> None:
    table = conform(INSTANCES, Digits().instances())
    row = table.slice(0, 1).to_pylist()[0]
    shown = Image.open(io.BytesIO(row["payload"]))
    data = Digits().data("evaluation")

    assert table.column("instance").to_pylist() == data.instances.tolist()
    assert table.column("label").to_pylist() == data.labels.tolist()
    assert row["slices"] == [f"class:{row['label_name']}"]
    assert row["payload_type"] == "image/png"
    assert shown.size == (64, 64)


def test_the_image_shows_the_pixels_that_the_model_sees() -> None:
    row = Digits().instances().slice(0, 1).to_pylist()[0]
    shown = np.asarray(Image.open(io.BytesIO(row["payload"])), float)[4::8, 4::8]
    seen = Digits().data("evaluation").inputs[0, 0].numpy()

    assert np.abs((1 - shown / 255) * 2 - 1 - seen).max() < 0.01


def test_shifting_moves_by_at_most_one_pixel_and_fills_with_blank() -> None:
    image = torch.full((200, 1, 8, 8), -1.0)
    image[:, 0, 4, 4] = 1

    moved = shifted(image, torch.Generator().manual_seed(0))
    places = {tuple(place) for place in torch.nonzero(moved[:, 0] == 1)[:, 1:].tolist()}

    assert places == {(row, column) for row in (3, 4, 5) for column in (3, 4, 5)}
    assert torch.equal(moved.sum((1, 2, 3)), image.sum((1, 2, 3)))


def test_shifting_drops_what_leaves_the_image() -> None:
    full = shifted(torch.ones(100, 1, 8, 8), torch.Generator().manual_seed(0))

    assert {(int(image.sum()) + 64) // 2 for image in full} == {64, 56, 49}


@pytest.mark.parametrize("base", Digits.bases)
def test_building_gives_the_same_untrained_model_and_disturbs_nothing(base: str) -> None:
    before = torch.get_rng_state()
    first, second = Digits().build(base), Digits().build(base)

    assert not first.training
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    assert torch.equal(torch.get_rng_state(), before)
    assert 40_000 <= sum(parameter.numel() for parameter in first.parameters()) <= 80_000


def test_an_unknown_base_is_refused() -> None:
    with pytest.raises(InvalidRecipeError, match="'rsnet': use resnet or vit"):
        Digits().build("rsnet")


def accuracy(model: nn.Module) -> float:
    data = Digits().data("evaluation")
    with torch.no_grad():
        return float((Digits().logits(model, data.inputs).argmax(1) == data.labels).float().mean())


@pytest.mark.parametrize(("base", "least"), [("resnet", 0.97), ("vit", 0.95)])
def test_a_trained_base_model_reads_unseen_digits(base: str, least: float) -> None:
    model = Digits().train(base, seed=0)

    assert not model.training
    assert accuracy(model) >= least


def test_training_is_repeatable() -> None:
    first, second, other = (Digits().train("resnet", seed).state_dict() for seed in (3, 3, 4))

    assert all(map(torch.equal, first.values(), second.values()))
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_fields_that_do_not_fit_are_told_in_one_line() -> None:
    with pytest.raises(InvalidRecipeError, match=r"^task 'digits': size=3: extra inputs are not permitted\.$"):
        task_from_json({"task": "digits", "parameters": {"size": 3}})
