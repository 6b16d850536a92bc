from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cc_ray.compare.trade_offs.hypervolume import added_volume, hypervolume, hypervolume_history, volume_of
from cc_ray.errors import NotComparableError
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import Views, open_views
from tests.compare.small import START, Value, add_model, new_store

DIRECTIONS = {"accuracy": "higher", "size_bytes": "lower"}
OBJECTIVES = ["accuracy", "size_bytes"]


def by_inclusion_and_exclusion(points: Any, reference: Any) -> float:
    """The definition, for a few points: volumes of all overlaps with alternating signs."""
    total = 0.0
    for count in range(1, len(points) + 1):
        for chosen in combinations(points, count):
            total -= (-1) ** count * np.prod(np.maximum(0, reference - np.max(chosen, axis=0)))
    return float(total)


@pytest.mark.parametrize(
    ("points", "reference", "expected"),
    [
        ([[1.0]], [3.0], 2.0),
        ([[1, 2], [2, 1]], [3, 3], 3.0),
        ([[0, 0, 0]], [1, 2, 3], 6.0),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [2, 2, 2], 7.0),
        ([[0, 1, 1, 1], [1, 0, 1, 1]], [2, 2, 2, 2], 3.0),
        ([[3, 0], [0, 3], [4, 4]], [3, 3], 0.0),
        (np.empty((0, 2)), [1, 1], 0.0),
    ],
)
def test_the_volume_is_the_one_worked_out_by_hand(points: Any, reference: Any, expected: float) -> None:
    assert volume_of(np.array(points, float), np.array(reference, float)) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(float, st.tuples(st.integers(1, 7), st.integers(1, 5)), elements=st.integers(0, 6).map(float)))
def test_the_volume_is_that_of_inclusion_and_exclusion(points: Any) -> None:
    reference = np.full(points.shape[1], 5.0)

    assert volume_of(points, reference) == pytest.approx(by_inclusion_and_exclusion(points, reference))


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_the_volume_is_about_the_share_of_random_points_that_are_beaten(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    points, drawn = rng.random((60, objectives)), rng.random((20_000, objectives))

    beaten = np.mean([(points <= point).all(axis=1).any() for point in drawn])

    assert volume_of(points, np.ones(objectives)) == pytest.approx(beaten, abs=0.015)


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(float, st.tuples(st.integers(1, 8), st.integers(1, 4)), elements=st.integers(0, 6).map(float)))
def test_what_a_point_adds_is_the_difference_of_the_volumes(points: Any) -> None:
    reference = np.full(points.shape[1], 5.0)
    others, point = points[1:], points[0]

    added = added_volume(point, others, reference)

    assert added == pytest.approx(volume_of(points, reference) - volume_of(others, reference))


def filled(path: Path, **models: dict[str, Value]) -> Views:
    """The first is the base model of the others."""
    store = new_store(path, directions=DIRECTIONS)
    names = list(models)
    for place, name in enumerate(names):
        steps = [Step("cut", {"n": place})] if place else []
        add_model(store, name, parent=names[0] if place else None, steps=steps, metrics=models[name])
    return open_views(path)


def three(path: Path) -> Views:
    return filled(
        path,
        base={"accuracy": 0.5, "size_bytes": 10.0},
        good={"accuracy": 0.75, "size_bytes": 6.0},
        small={"accuracy": 0.625, "size_bytes": 2.0},
        lacking={"accuracy": 0.9},
    )


def test_the_hypervolume_says_what_it_is_measured_against(tmp_path: Path) -> None:
    found = hypervolume(three(tmp_path), OBJECTIVES).to_pylist()

    # 0.25 * 4 of the good one and 0.125 * 4 more of the small one: the base itself is the reference point.
    assert found == [
        {
            "hypervolume": pytest.approx(1.5),
            "share": None,
            "models": 3,
            "on_front": 2,
            "adding": 2,
            "accuracy_reference": 0.5,
            "size_bytes_reference": 10.0,
            "accuracy_reference_from": "worst base model",
            "size_bytes_reference_from": "worst base model",
        }
    ]


def test_a_reference_point_can_be_given_for_some_objectives(tmp_path: Path) -> None:
    found = hypervolume(three(tmp_path), OBJECTIVES, {"accuracy": 0.0}).to_pylist()[0]

    assert found["hypervolume"] == pytest.approx(0.75 * 4 + 0.625 * 4)
    assert (found["accuracy_reference_from"], found["size_bytes_reference"]) == ("given", 10.0)


def test_where_the_definition_bounds_a_metric_its_worst_value_is_the_reference(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    row = {"label": "", "unit": "", "primary": True, "format": "number", "meaning": ""}
    definitions = [
        {**row, "metric": "accuracy", "direction": "higher", "min": 0.0, "max": 1.0},
        {**row, "metric": "sparsity", "direction": "lower", "min": 0.0, "max": 2.0},
    ]
    store.publish("task", "t", {"metric_definitions": definitions})
    add_model(store, "base", metrics={"accuracy": 0.5, "sparsity": 1.0})

    found = hypervolume(open_views(tmp_path), ["accuracy", "sparsity"]).to_pylist()[0]

    assert (found["accuracy_reference"], found["sparsity_reference"]) == (0.0, 2.0)
    assert found["accuracy_reference_from"] == "worst possible value"
    assert found["hypervolume"] == pytest.approx(0.5)
    assert found["share"] == pytest.approx(0.25)


def test_where_the_base_models_lack_a_metric_the_worst_model_is_the_reference(tmp_path: Path) -> None:
    views = filled(tmp_path, base={}, one={"accuracy": 0.5}, two={"accuracy": 0.75})

    found = hypervolume(views, ["accuracy"]).to_pylist()[0]

    assert (found["accuracy_reference_from"], found["hypervolume"]) == ("worst model", pytest.approx(0.25))


def test_without_any_value_or_with_a_foreign_reference_there_is_no_hypervolume(tmp_path: Path) -> None:
    views = filled(tmp_path, base={"accuracy": 0.5})

    with pytest.raises(NotComparableError, match="Give one as reference"):
        hypervolume(views, OBJECTIVES)
    with pytest.raises(NotComparableError, match="'size_bytes', which is not an objective"):
        hypervolume(views, ["accuracy"], {"size_bytes": 1.0})


def test_the_history_grows_to_the_hypervolume(tmp_path: Path) -> None:
    views = three(tmp_path)

    rows = hypervolume_history(views, OBJECTIVES).to_pylist()

    assert [row["model_id"] for row in rows] == ["base", "good", "small", "lacking"]
    assert [row["gained"] for row in rows] == pytest.approx([0, 1, 0.5, 0])
    assert [row["models"] for row in rows] == [1, 2, 3, 3]
    assert rows[-1]["hypervolume"] == pytest.approx(hypervolume(views, OBJECTIVES)["hypervolume"][0].as_py())
    assert rows[0]["size_bytes_reference"] == 10.0


def test_a_history_by_trial_counts_all_models_on_the_way_once(tmp_path: Path) -> None:
    views = three(tmp_path)
    store = Store(tmp_path)
    row = {"study_id": "s", "recipe": "{}", "recipe_text": "", "state": "finished", "steps_reused": 0, "steps_run": 1,
           "duration_s": 1.0, "at": START}  # fmt: skip
    rows = [{**row, "trial_id": f"t{place}", "model_id": name} for place, name in enumerate(("good", "small"))]
    store.publish("trial", "1", {"trials": rows})

    found = hypervolume_history(views.refreshed(), OBJECTIVES, study="s", by="trial").to_pylist()

    assert [(row["trial_id"], row["models"], row["gained"]) for row in found] == [
        ("t0", 2, pytest.approx(1)),
        ("t1", 3, pytest.approx(0.5)),
    ]


def test_a_history_goes_by_model_or_by_trial_of_one_study(tmp_path: Path) -> None:
    views = three(tmp_path)

    with pytest.raises(NotComparableError, match="by 'day'"):
        hypervolume_history(views, OBJECTIVES, by="day")
    with pytest.raises(NotComparableError, match="name the study"):
        hypervolume_history(views, OBJECTIVES, by="trial")
