from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from cc_ray.compare.behaviour.slices import slice_behaviours, worst_slices
from cc_ray.compare.behaviour.summary import behaviours_by_class
from cc_ray.errors import NotComparableError, QueryError
from cc_ray.views import Views, open_views
from tests.compare.drawn import add_answers, add_classes, add_instances, real_predictions
from tests.compare.small import add_model, answers, new_store

LABELS = [0, 0, 0, 1, 1, 1, 2, 2]
BASE = [0, 0, 0, 1, 1, 2, 2, 0]
CHILD = [0, 1, 0, 1, 0, 1, 2, 1]
"""Loses 1 and 4, gains 5."""
SLICES = [["dark", "left"], ["dark"], ["left"], [], ["dark"], ["dark"], [], ["left"]]
PAYLOADS = [b"x" * (at + 1) for at in range(8)]


@pytest.fixture
def views(tmp_path: Path) -> Views:
    store = new_store(tmp_path)
    add_instances(store, LABELS, SLICES, PAYLOADS)
    add_model(store, "base", labels=LABELS, probabilities=answers(BASE, confidence=0.9))
    add_model(store, "child", labels=LABELS, probabilities=answers(CHILD, confidence=0.6))
    return open_views(tmp_path)


def test_an_instance_counts_in_each_of_its_slices(views: Views) -> None:
    found = slice_behaviours(views, ["child", "base"], "base").to_pylist()

    assert [(row["model_id"], row["slice"]) for row in found] == [
        ("child", "dark"), ("child", "left"), ("base", "dark"), ("base", "left")
    ]  # fmt: skip
    dark, left = found[:2]
    assert (dark["n"], dark["lost"], dark["gained"]) == (4, 2, 1)
    assert (dark["accuracy"], dark["base_accuracy"], dark["difference"], dark["flips"]) == (0.5, 0.75, -0.25, 0.75)
    assert (left["n"], left["accuracy"], left["base_accuracy"], left["flips"]) == (3, 2 / 3, 2 / 3, 0)
    assert [row["holm_p"] for row in found[:2]] == pytest.approx(
        multipletests([row["mcnemar_p"] for row in found[:2]], method="holm")[1]
    )
    assert dark["difference_low"] <= -0.25 <= dark["difference_high"]
    assert dark["accuracy_low"] < 0.5 < dark["accuracy_high"]


def test_slices_are_chosen_by_name_in_that_order(views: Views) -> None:
    found = slice_behaviours(views, ["child"], "base", ["left", "dark"])

    assert found["slice"].to_pylist() == ["left", "dark"]
    with pytest.raises(NotComparableError, match=r"no slice 'bright'\. Its slices: dark, left"):
        slice_behaviours(views, ["child"], "base", ["bright"])


@pytest.mark.parametrize(
    ("condition", "n"),
    [
        ("label = 1", 3),
        ("octet_length(payload) > 6", 2),
        ("correct AND list_contains(slices, 'dark')", 3),
        ("confidence > 0.8 -- of the base", 8),
        ("label_name = '2' OR prediction = 2", 3),
        ("instance IN (SELECT instance FROM predictions WHERE NOT correct AND model_id = 'child')", 3),
        ("NULL::BOOLEAN", 0),
    ],
)
def test_a_condition_chooses_instances(views: Views, condition: str, n: int) -> None:
    row = slice_behaviours(views, ["child"], "base", conditions={"chosen": condition}).to_pylist()[0]

    assert (row["slice"], row["n"]) == ("chosen", n)


def test_an_empty_slice_has_no_measures(views: Views) -> None:
    found = slice_behaviours(
        views, ["child"], "base", conditions={"none": "label > 5", "ones": "label = 1"}
    ).to_pylist()

    assert (found[0]["n"], found[0]["accuracy"], found[0]["mcnemar_p"], found[0]["holm_p"]) == (0, None, None, None)
    assert found[1]["holm_p"] == found[1]["mcnemar_p"] == 1


@pytest.mark.parametrize(
    "condition",
    [
        "SELECT 1", "true) FROM models; --", "true; DROP TABLE models", "true, false", "", "label = 1 FROM models",
        "label =",
    ],
)  # fmt: skip
def test_what_is_not_one_expression_is_refused(views: Views, condition: str) -> None:
    with pytest.raises(QueryError, match="slice 'mine' has a condition that is not one SQL expression"):
        slice_behaviours(views, ["child"], "base", conditions={"mine": condition})


@pytest.mark.parametrize("condition", ["brightness > 3", "count(*) > 1", "read_text('/etc/passwd') = ''"])
def test_what_the_store_cannot_answer_is_refused(views: Views, condition: str) -> None:
    with pytest.raises(QueryError, match="slice 'mine' has a condition"):
        slice_behaviours(views, ["child"], "base", conditions={"mine": condition})


def test_a_condition_that_is_no_condition_is_refused(views: Views) -> None:
    with pytest.raises(QueryError, match="a condition that is int32, not true or false: label"):
        slice_behaviours(views, ["child"], "base", conditions={"mine": "label"})


def test_conditions_work_without_instances(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", labels=LABELS, probabilities=answers(BASE))
    add_model(store, "child", labels=LABELS, probabilities=answers(CHILD))
    views = open_views(tmp_path)

    assert slice_behaviours(views, ["child"], "base", conditions={"ones": "label = 1"})["n"].to_pylist() == [3]
    assert slice_behaviours(views, ["child"], "base").num_rows == 0
    assert worst_slices(views, "child", "base", smallest=2)["slice"].to_pylist()[:1] == ["class zero"]


def planted(root: Path, count: int = 4_000) -> Views:
    """A model that is worse where an instance is both dark and of class 1, and on nothing else."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, count).astype(np.int32)
    dark, left = rng.random(count) < 0.5, rng.random(count) < 0.5
    store = new_store(root)
    add_instances(store, labels, [["dark"] * bool(d) + ["left"] * bool(e) for d, e in zip(dark, left, strict=True)])
    for model_id, worse in (("base", np.zeros(count, bool)), ("child", dark & (labels == 1))):
        wrong = rng.random(count) < np.where(worse, 0.5, 0.05)
        top = np.where(wrong, (labels + 1) % 3, labels)
        p = rng.uniform(0.6, 0.99, count)
        add_answers(store, model_id, labels, np.where(np.eye(3, dtype=bool)[top], p[:, None], (1 - p[:, None]) / 2))
    return open_views(root)


def test_the_search_finds_the_slice_that_was_harmed(tmp_path: Path) -> None:
    found = worst_slices(planted(tmp_path), "child", "base").to_pylist()

    first = found[0]
    assert first["parts"] == ["class one", "dark"]
    assert first["slice"] == "class one and dark"
    assert first["difference"] == pytest.approx(-0.45, abs=0.08)
    assert first["difference_high"] < -0.35
    assert first["holm_p"] < 1e-9
    assert first["share"] == pytest.approx(1 / 6, abs=0.02)
    assert first["searched"] > 30
    # No other intersection tells more than the slices that it is made of.
    assert all(len(row["parts"]) == 1 for row in found[1:])
    assert all(row["n"] >= 30 for row in found)


def test_the_search_keeps_to_its_limits(tmp_path: Path) -> None:
    views = planted(tmp_path)

    assert worst_slices(views, "child", "base", limit=2).num_rows == 2
    assert min(worst_slices(views, "child", "base", 50, smallest=1_000)["n"].to_pylist()) >= 1_000
    assert worst_slices(views, "child", "base", smallest=5_000).num_rows == 0
    assert worst_slices(views, "child", "base").equals(worst_slices(views, "child", "base"))


def test_a_model_beside_itself_has_no_worst_slice(views: Views) -> None:
    found = worst_slices(views, "base", "base", smallest=1).to_pylist()

    assert all(row["difference"] == 0 for row in found)


def test_real_classes_are_judged_as_by_class(tmp_path: Path) -> None:
    labels, predictions = real_predictions()
    store = new_store(tmp_path)
    add_instances(store, labels, [[f"class:{label}"] for label in labels])
    ids = [add_classes(store, name, labels, classes) for name, classes in predictions.items()]
    views = open_views(tmp_path)

    found, expected = slice_behaviours(views, ids, ids[0]), behaviours_by_class(views, ids, ids[0])

    for name in ("n", "accuracy", "accuracy_low", "difference", "difference_low", "lost", "gained", "holm_p"):
        np.testing.assert_allclose(found[name].to_numpy(), expected[name].to_numpy(), atol=1e-12)
    worst = worst_slices(views, ids[1], ids[0]).to_pylist()
    assert all(part.startswith("class ") for row in worst for part in row["parts"])
    assert worst == sorted(worst, key=lambda row: (row["holm_p"] >= 0.05, -abs(row["difference"])))
