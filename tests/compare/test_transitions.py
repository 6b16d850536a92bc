from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix
from statsmodels.stats.proportion import proportion_confint

from cc_ray.compare.behaviour.transitions import confusion_matrices, error_overlap, lost_overlap, transition_matrix
from cc_ray.errors import NotComparableError
from cc_ray.views import Views, open_views
from tests.compare.drawn import add_classes, real_predictions
from tests.compare.small import add_model, answers, new_store

LABELS = [0, 0, 0, 1, 1, 1, 2, 2]
BASE = [0, 0, 0, 1, 1, 2, 2, 0]
CHILD = [0, 1, 0, 1, 0, 1, 2, 1]
OTHER = [0, 1, 1, 1, 1, 1, 0, 0]
"""Loses 1, 2 and 6."""


@pytest.fixture
def views(tmp_path: Path) -> Views:
    store = new_store(tmp_path)
    for model_id, predictions in (("base", BASE), ("child", CHILD), ("other", OTHER)):
        add_model(store, model_id, labels=LABELS, probabilities=answers(predictions))
    return open_views(tmp_path)


def test_the_transitions_of_a_base_prediction_add_up_to_all_of_them(views: Views) -> None:
    found = transition_matrix(views, "child", "base").to_pylist()

    cells = {(row["base_prediction"], row["prediction"]): row["count"] for row in found}
    assert cells == {(0, 0): 2, (0, 1): 2, (1, 0): 1, (1, 1): 1, (2, 1): 1, (2, 2): 1}
    assert [row["share"] for row in found] == [0.5] * 6
    moved = found[1]
    assert (moved["base_prediction_name"], moved["prediction_name"]) == ("zero", "one")
    assert (moved["lost"], moved["gained"]) == (1, 0)
    expected = proportion_confint(2, 4, method="wilson")
    assert (moved["share_low"], moved["share_high"]) == pytest.approx(expected)


def test_transitions_by_label_are_a_matrix_for_each_class(views: Views) -> None:
    found = transition_matrix(views, "child", "base", by_label=True).to_pylist()

    rows = [(row["label"], row["base_prediction"], row["prediction"], row["count"], row["share"]) for row in found]
    assert rows == [
        (0, 0, 0, 2, 2 / 3), (0, 0, 1, 1, 1 / 3), (1, 1, 0, 1, 1 / 2), (1, 1, 1, 1, 1 / 2), (1, 2, 1, 1, 1.0),
        (2, 0, 1, 1, 1.0), (2, 2, 2, 1, 1.0),
    ]  # fmt: skip
    assert found[0]["label_name"] == "zero"


def test_confusion_matrices_stand_model_after_model(views: Views) -> None:
    found = confusion_matrices(views, ["child", "base"]).to_pylist()

    assert [row["model_id"] for row in found] == ["child"] * 6 + ["base"] * 5
    base = [(row["label_name"], row["prediction_name"], row["count"], row["share"]) for row in found[6:]]
    assert base == [
        ("zero", "zero", 3, 1.0), ("one", "one", 2, 2 / 3), ("one", "two", 1, 1 / 3), ("two", "zero", 1, 1 / 2),
        ("two", "two", 1, 1 / 2),
    ]  # fmt: skip


def test_an_instance_is_counted_once_by_exactly_the_models_that_lose_it(views: Views) -> None:
    found = error_overlap(views, ["child", "other", "base"], "base").to_pylist()

    # Of the base's six right answers child loses 1 and 4, other loses 1, 2 and 6.
    assert [(row["models"], row["count"]) for row in found] == [(["other"], 2), (["child"], 1), (["child", "other"], 1)]
    assert [row["share"] for row in found] == pytest.approx([2 / 6, 1 / 6, 1 / 6])
    assert [row["expected"] for row in found] == pytest.approx(
        [6 * 1 / 2 * 2 / 3, 6 * 1 / 3 * 1 / 2, 6 * 1 / 3 * 1 / 2]
    )
    assert [row["size"] for row in found] == [1, 1, 2]
    assert all(row["share_low"] < row["share"] < row["share_high"] for row in found)


def test_two_models_lose_a_share_of_instances_together(views: Views) -> None:
    row = lost_overlap(views, ["child", "other"], "base").to_pylist()[0]

    assert (row["model_id"], row["other_id"], row["lost"], row["other_lost"]) == ("child", "other", 2, 3)
    assert (row["both"], row["either"], row["jaccard"]) == (1, 4, 1 / 4)
    assert (row["jaccard_low"], row["jaccard_high"]) == pytest.approx(proportion_confint(1, 4, method="wilson"))


def test_models_that_lose_nothing_overlap_in_nothing(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for model_id in ("base", "same", "again"):
        add_model(store, model_id, labels=LABELS, probabilities=answers(BASE))
    views = open_views(tmp_path)

    assert error_overlap(views, ["same", "again"], "base").num_rows == 0
    assert lost_overlap(views, ["same", "again"], "base")["jaccard"].to_pylist() == [None]
    assert lost_overlap(views, ["same"], "base").num_rows == 0


def test_a_base_that_is_never_right_has_nothing_to_lose(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", labels=[0, 0], probabilities=answers([1, 1]))
    add_model(store, "child", labels=[0, 0], probabilities=answers([0, 1]))

    assert error_overlap(open_views(tmp_path), ["child"], "base").num_rows == 0


def test_too_many_models_to_intersect_are_refused(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    ids = [add_model(store, f"m{index}", labels=[0], probabilities=answers([0])) for index in range(10)]

    with pytest.raises(NotComparableError, match=r"9 models have too many intersections.*Allowed: 8"):
        error_overlap(open_views(tmp_path), ids, ids[0])


def test_models_without_predictions_are_refused(views: Views, tmp_path: Path) -> None:
    add_model(new_store(tmp_path / "other"), "silent")
    silent = open_views(tmp_path / "other")

    with pytest.raises(NotComparableError, match="no predictions of silent"):
        confusion_matrices(silent, ["silent"])
    with pytest.raises(NotComparableError, match="no model is named"):
        confusion_matrices(views, [])


def test_real_confusions_are_those_of_sklearn(tmp_path: Path) -> None:
    labels, predictions = real_predictions()
    store = new_store(tmp_path)
    ids = [add_classes(store, name, labels, classes) for name, classes in predictions.items()]
    views = open_views(tmp_path)

    for model_id in ids[:2]:
        found = confusion_matrices(views, [model_id])
        matrix = np.zeros((10, 10), int)
        matrix[found["label"].to_numpy(), found["prediction"].to_numpy()] = found["count"].to_numpy()
        np.testing.assert_array_equal(matrix, confusion_matrix(labels, predictions[model_id]))
    overlap = error_overlap(views, ids, ids[0]).to_pylist()
    right = predictions[ids[0]] == labels
    alone = {tuple(row["models"]): row["count"] for row in overlap}
    all_wrong = np.all([predictions[name] != labels for name in ids[1:]], axis=0)
    assert alone[tuple(ids[1:])] == (right & all_wrong).sum()
