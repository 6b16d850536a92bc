from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cc_ray.compare import behaviours, behaviours_by_class, instances, prediction_changes
from cc_ray.compare.statistics.intervals import holm
from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import Views, open_views
from tests.compare.small import TASK, add_model, answers, new_store

LABELS = [0, 0, 0, 1, 1, 1, 2, 2]
BASE = [0, 0, 0, 1, 1, 2, 2, 0]
"""Wrong on instances 5 and 7."""
CHILD = [0, 1, 0, 1, 0, 1, 2, 1]
"""Loses 1 and 4, gains 5, errs otherwise on 7."""


def filled(root: Path) -> Store:
    store = new_store(root)
    add_model(store, "base", labels=LABELS, probabilities=answers(BASE, confidence=0.9))
    add_model(
        store,
        "child",
        parent="base",
        steps=[Step("tune")],
        labels=LABELS,
        probabilities=answers(CHILD, confidence=0.6),
    )
    return store


@pytest.fixture
def views(tmp_path: Path) -> Views:
    return open_views(filled(tmp_path).root)


def test_flips_are_counted_and_weighed(views: Views) -> None:
    row = behaviours(views, ["child"], "base").to_pylist()[0]

    assert (row["n"], row["lost"], row["gained"]) == (8, 2, 1)
    assert (row["accuracy"], row["base_accuracy"]) == (5 / 8, 6 / 8)
    assert row["difference"] == row["net"] == -1 / 8
    assert row["flips"] == 3 / 8
    assert row["agreement"] == 4 / 8
    assert row["wrong_to_different_wrong"] == 1 / 8
    assert row["mcnemar_p"] == pytest.approx(stats.binomtest(1, 3).pvalue)
    assert row["difference_low"] <= -1 / 8 <= row["difference_high"]
    assert row["accuracy_low"] < 5 / 8 < row["accuracy_high"]


def test_the_divergence_is_that_of_numpy(views: Views) -> None:
    row = behaviours(views, ["child"], "base").to_pylist()[0]

    p, q = (np.asarray(answers(made, confidence=c)) for made, c in ((BASE, 0.9), (CHILD, 0.6)))
    kl = np.sum(p * np.log(p / q), axis=1)
    found = [row[name] for name in ("kl_mean", "kl_median", "kl_p90", "kl_p99", "kl_max")]
    np.testing.assert_allclose(found, [kl.mean(), *np.quantile(kl, [0.5, 0.9, 0.99]), kl.max()], rtol=1e-5)


def test_a_base_beside_itself_does_not_differ(views: Views) -> None:
    found = behaviours(views, ["child", "base"], "base").to_pylist()

    assert [row["model_id"] for row in found] == ["child", "base"]
    row = found[1]
    assert (row["flips"], row["agreement"], row["mcnemar_p"], row["kl_max"]) == (0, 1, 1, 0)
    assert row["difference_low"] == row["difference_high"] == 0


def test_classes_are_compared_one_by_one(views: Views) -> None:
    found = behaviours_by_class(views, ["child", "base"], "base").to_pylist()

    child = found[:3]
    assert [row["model_id"] for row in found] == ["child"] * 3 + ["base"] * 3
    assert [row["label_name"] for row in child] == ["zero", "one", "two"]
    assert [(row["n"], row["lost"], row["gained"]) for row in child] == [(3, 1, 0), (3, 1, 1), (2, 0, 0)]
    assert [row["accuracy"] for row in child] == pytest.approx([2 / 3, 2 / 3, 1 / 2])
    np.testing.assert_allclose([row["holm_p"] for row in child], holm([row["mcnemar_p"] for row in child]))


def test_the_most_frequent_changes_of_prediction(views: Views) -> None:
    found = prediction_changes(views, "child", "base").to_pylist()

    assert [(row["base_prediction_name"], row["prediction_name"], row["count"]) for row in found] == [
        ("zero", "one", 2), ("one", "zero", 1), ("two", "one", 1)
    ]  # fmt: skip
    assert found[0]["share"] == 2 / 8
    assert (found[0]["lost"], found[0]["gained"]) == (1, 0)
    assert (found[2]["lost"], found[2]["gained"]) == (0, 1)
    assert prediction_changes(views, "child", "base", limit=1).num_rows == 1
    assert prediction_changes(views, "base", "base").num_rows == 0


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("all", list(range(8))),
        ("disagree", [1, 4, 5, 7]),
        ("flipped", [1, 4, 5]),
        ("lost", [1, 4]),
        ("gained", [5]),
        ("wrong", [1, 4, 7]),
    ],
)
def test_instances_of_one_kind(views: Views, only: Any, expected: list[int]) -> None:
    found = instances(views, ["child"], "base", only=only)

    assert found.table["instance"].to_pylist() == expected
    assert found.count == len(expected)


def test_an_instance_comes_with_every_answer_the_base_first(tmp_path: Path) -> None:
    store = filled(tmp_path)
    picture = {"task_id": TASK, "instance": 1, "label": 0, "label_name": "zero", "slices": [], "payload": b"png",
               "payload_type": "image/png"}  # fmt: skip
    store.publish("task", "pictures", {"instances": [picture]})

    found = instances(open_views(tmp_path), ["child", "base"], "base", label=0).table.to_pylist()

    assert [row["payload"] for row in found] == [None, b"png", None]
    assert [answer["model_id"] for answer in found[1]["answers"]] == ["base", "child"]
    assert [answer["prediction_name"] for answer in found[1]["answers"]] == ["zero", "one"]
    assert [answer["correct"] for answer in found[1]["answers"]] == [True, False]
    assert found[1]["answers"][1]["confidence"] == pytest.approx(0.6)


def test_pages_follow_each_other_and_know_the_whole(views: Views) -> None:
    pages = [instances(views, ["child"], "base", limit=3, offset=offset) for offset in (0, 3, 6, 9)]

    assert [page.table["instance"].to_pylist() for page in pages] == [[0, 1, 2], [3, 4, 5], [6, 7], []]
    assert [page.count for page in pages] == [8] * 4


def test_sorting_by_change_and_loss_shows_the_worst_first(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", labels=[0, 0, 0], probabilities=[[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.9, 0.1, 0.0]])
    add_model(store, "child", labels=[0, 0, 0], probabilities=[[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.4, 0.6, 0.0]])
    views = open_views(tmp_path)

    assert instances(views, ["child"], "base", sort="change").table["instance"].to_pylist() == [2, 0, 1]
    assert instances(views, ["child"], "base", sort="loss").table["instance"].to_pylist() == [1, 2, 0]


def test_the_base_alone_shows_its_own_answers(views: Views) -> None:
    found = instances(views, ["base"], "base", only="wrong").table.to_pylist()

    assert [row["instance"] for row in found] == [5, 7]
    assert [len(row["answers"]) for row in found] == [1, 1]


def test_a_kind_or_order_that_nobody_knows_is_refused(views: Views) -> None:
    with pytest.raises(NotComparableError, match="only='odd' is not known"):
        instances(views, ["child"], "base", only="odd")  # type: ignore[arg-type]
    with pytest.raises(NotComparableError, match="sort='name'"):
        instances(views, ["child"], "base", sort="name")  # type: ignore[arg-type]


@pytest.mark.parametrize("ask", [behaviours, behaviours_by_class, instances])
def test_what_cannot_be_compared_says_why(tmp_path: Path, ask: Any) -> None:
    store = new_store(tmp_path, tasks=(TASK, "other-1"))
    add_model(store, "mine", labels=[0], probabilities=answers([0]))
    add_model(store, "theirs", task_id="other-1", labels=[0], probabilities=answers([0]))
    add_model(store, "silent", seed=1)
    views = open_views(tmp_path)

    with pytest.raises(NotComparableError, match="2 different tasks"):
        ask(views, ["theirs"], "mine")
    with pytest.raises(NotComparableError, match="no predictions of silent"):
        ask(views, ["mine"], "silent")
    with pytest.raises(NotComparableError, match="no model is named"):
        ask(views, [], "mine")
    with pytest.raises(ModelNotFoundError, match="no model 'gone'"):
        ask(views, ["mine"], "gone")


def test_a_model_whose_probabilities_are_nan_still_has_an_answer(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    nan = float("nan")
    add_model(store, "base", labels=[0, 1], probabilities=answers([0, 1]))
    add_model(store, "broken", labels=[0, 1], probabilities=[[nan] * 3, [nan] * 3])

    row = behaviours(open_views(tmp_path), ["broken"], "base").to_pylist()[0]

    assert row["lost"] == 1
    assert np.isnan(row["kl_mean"])


def test_tasks_without_class_names_show_labels(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    add_model(store, "base", labels=[1], probabilities=answers([1]))

    assert behaviours_by_class(open_views(tmp_path), ["base"], "base")["label_name"].to_pylist() == ["1"]
