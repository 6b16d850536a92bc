from pathlib import Path

import pytest

from cc_ray.compare import behaviours, flip_matrix, outcomes
from cc_ray.errors import NotComparableError
from cc_ray.store import Store
from cc_ray.views import Views, open_views
from tests.compare.drawn import REAL_MODELS, add_classes, real_predictions
from tests.compare.small import new_store

LABELS = [0, 0, 1, 1, 2, 2]


@pytest.fixture
def views(tmp_path: Path) -> Views:
    store = new_store(tmp_path)
    add_classes(store, "base", LABELS, [0, 0, 1, 1, 0, 1])
    add_classes(store, "child", LABELS, [0, 1, 1, 2, 0, 2])
    add_classes(store, "other", LABELS, [1, 1, 1, 1, 1, 1])
    return open_views(tmp_path)


def test_two_models_have_a_row_either_way(views: Views) -> None:
    found = flip_matrix(views, ["base", "child", "other"]).to_pylist()

    counts = {(row["model_id"], row["other_id"]): row["lost"] for row in found}
    assert counts == {
        ("base", "child"): 2, ("base", "other"): 2, ("child", "base"): 1, ("child", "other"): 2,
        ("other", "base"): 0, ("other", "child"): 1,
    }  # fmt: skip
    assert {row["n"] for row in found} == {6}
    assert found[0]["share"] == pytest.approx(2 / 6)


def test_one_model_has_nobody_to_be_compared_with(views: Views) -> None:
    with pytest.raises(NotComparableError, match="at least two"):
        flip_matrix(views, ["base"])


def test_every_answer_of_the_base_has_an_outcome(views: Views) -> None:
    found = outcomes(views, ["child"], "base").to_pylist()

    assert [(row["base_outcome"], row["outcome"], row["count"]) for row in found] == [
        ("right", "right", 2),
        ("right", "wrong", 2),
        ("wrong", "right", 1),
        ("wrong", "same wrong", 1),
        ("wrong", "other wrong", 0),
    ]
    assert sum(row["share"] for row in found) == pytest.approx(1)


def test_real_flips_are_those_that_behaviours_count(tmp_path: Path) -> None:
    labels, predictions = real_predictions()
    store: Store = new_store(tmp_path)
    for name in REAL_MODELS:
        add_classes(store, name, labels, predictions[name])
    views = open_views(tmp_path)
    base, *others = REAL_MODELS

    lost = {(row["model_id"], row["other_id"]): row["lost"] for row in flip_matrix(views, REAL_MODELS).to_pylist()}

    for row in behaviours(views, others, base).to_pylist():
        own = row["model_id"]
        assert (lost[base, own], lost[own, base]) == (row["lost"], row["gained"])
        became = {
            (each["base_outcome"], each["outcome"]): each["count"] for each in outcomes(views, [own], base).to_pylist()
        }
        assert became["right", "wrong"] == row["lost"] and became["wrong", "right"] == row["gained"]
        assert became["wrong", "other wrong"] / row["n"] == pytest.approx(row["wrong_to_different_wrong"])
