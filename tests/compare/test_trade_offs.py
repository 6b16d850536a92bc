from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cc_ray.compare import front, recommendations
from cc_ray.compare.trade_offs import not_dominated
from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.recipe import Step
from cc_ray.views import Views, open_views
from tests.compare.small import START, Value, add_model, new_store

DIRECTIONS = {"accuracy": "higher", "size_bytes": "lower", "sparsity": "none"}


def beats(a: Any, b: Any) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


@given(arrays.arrays(float, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=st.integers(0, 4).map(float)))
def test_the_front_is_what_comparing_all_pairs_finds(values: Any) -> None:
    expected = [not any(beats(a, b) for a in values) for b in values]

    assert not_dominated(values, values).tolist() == expected


@given(arrays.arrays(float, st.tuples(st.integers(1, 12), st.just(2)), elements=st.integers(0, 9).map(float)))
def test_the_front_with_intervals_holds_the_front_without(values: Any) -> None:
    strict, loose = not_dominated(values, values), not_dominated(values + 1, values - 1)

    assert np.all(loose[strict])


def filled(path: Path, **models: dict[str, Value]) -> Views:
    store = new_store(path, directions=DIRECTIONS)
    for model_id, metrics in models.items():
        add_model(store, model_id, metrics=metrics)
    return open_views(path)


def on(table: Any, column: str) -> set[str]:
    return set(table.filter(table[column])["model_id"].to_pylist())


def test_better_everywhere_is_on_the_front_and_best_comes_first(tmp_path: Path) -> None:
    views = filled(
        tmp_path,
        good={"accuracy": 0.9, "size_bytes": 50.0},
        small={"accuracy": 0.5, "size_bytes": 10.0},
        worse={"accuracy": 0.4, "size_bytes": 20.0},
    )

    found = front(views, ["accuracy", "size_bytes"])

    assert found["model_id"].to_pylist() == ["good", "small", "worse"]
    assert on(found, "on_front") == {"good", "small"}
    assert found.column_names == [
        "model_id", "name", "accuracy", "accuracy_low", "accuracy_high",
        "size_bytes", "size_bytes_low", "size_bytes_high", "on_front", "on_front_interval",
    ]  # fmt: skip


def test_a_model_is_excluded_only_where_intervals_separate(tmp_path: Path) -> None:
    views = filled(
        tmp_path,
        best={"accuracy": (0.9, 0.85, 0.95), "size_bytes": 10.0},
        near={"accuracy": (0.87, 0.83, 0.91), "size_bytes": 10.0},
        far={"accuracy": (0.5, 0.45, 0.55), "size_bytes": 10.0},
    )

    found = front(views, ["accuracy", "size_bytes"])

    assert on(found, "on_front") == {"best"}
    assert on(found, "on_front_interval") == {"best", "near"}


def test_equal_models_are_both_on_the_front(tmp_path: Path) -> None:
    views = filled(tmp_path, one={"accuracy": 0.5}, two={"accuracy": 0.5})

    assert on(front(views, ["accuracy"]), "on_front") == {"one", "two"}


def test_a_model_without_a_value_or_with_nan_is_on_no_front_and_excludes_none(tmp_path: Path) -> None:
    views = filled(
        tmp_path,
        there={"accuracy": 0.5, "size_bytes": 10.0},
        lacking={"accuracy": 0.9},
        broken={"accuracy": float("nan"), "size_bytes": 1.0},
    )

    found = front(views, ["accuracy", "size_bytes"])

    assert on(found, "on_front") == on(found, "on_front_interval") == {"there"}
    assert found.num_rows == 3


def test_a_direction_can_be_given(tmp_path: Path) -> None:
    views = filled(tmp_path, dense={"sparsity": 0.0}, sparse={"sparsity": 0.9})

    assert on(front(views, {"sparsity": "higher"}), "on_front") == {"sparse"}


def test_only_the_models_asked_for_take_part(tmp_path: Path) -> None:
    views = filled(tmp_path, good={"accuracy": 0.9}, bad={"accuracy": 0.1}, mean={"accuracy": 0.5})

    assert on(front(views, ["accuracy"], ids=["bad", "mean"]), "on_front") == {"mean"}
    assert front(views, ["accuracy"], ids=[]).num_rows == 0


@pytest.mark.parametrize(
    ("objectives", "said"),
    [
        ([], "at least one metric"),
        (["acuracy"], "did you mean 'accuracy'"),
        (["sparsity"], "direction 'none'"),
        ({"sparsity": "up"}, "direction 'up'"),
    ],
)
def test_an_objective_that_cannot_be_judged_is_refused(tmp_path: Path, objectives: Any, said: str) -> None:
    with pytest.raises(NotComparableError, match=said):
        front(filled(tmp_path), objectives)


def test_models_of_two_tasks_have_no_common_front(tmp_path: Path) -> None:
    store = new_store(tmp_path, tasks=("one", "two"))
    for task_id in ("one", "two"):
        add_model(store, f"of_{task_id}", task_id=task_id, metrics={"accuracy": 0.5})

    with pytest.raises(NotComparableError, match="2 different tasks"):
        front(open_views(tmp_path), ["accuracy"])


def test_unknown_models_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        front(filled(tmp_path), ["accuracy"], ids=["none"])


def test_recommendations_stand_beside_their_base(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions=DIRECTIONS)
    add_model(store, "base", metrics={"accuracy": 0.9, "size_bytes": 100.0})
    add_model(store, "child", parent="base", steps=[Step("tune")], metrics={"accuracy": 0.8, "size_bytes": 40.0})
    add_model(store, "other", seed=1, metrics={"accuracy": 1.0, "size_bytes": 1.0})
    trial = {"study_id": "s", "trial_id": "t", "recipe": "{}", "recipe_text": "", "state": "finished",
             "model_id": "child", "steps_reused": 0, "steps_run": 2, "duration_s": 1.0, "at": START}  # fmt: skip
    store.publish("trial", "t", {"trials": [trial]})

    found = recommendations(open_views(tmp_path), ["accuracy", "size_bytes"], study="s").to_pylist()

    assert [row["model_id"] for row in found] == ["base", "child"]
    assert found[1]["accuracy_base"] == 0.9
    assert found[1]["accuracy_change"] == pytest.approx(-0.1)
    assert found[1]["size_bytes_change"] == -60.0
    assert found[1]["accuracy_change_low"] is None
    whole = recommendations(open_views(tmp_path), ["accuracy", "size_bytes"])
    assert whole["model_id"].to_pylist() == ["other"]


def test_recommendations_keep_to_bounds(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions=DIRECTIONS)
    add_model(store, "base", metrics={"accuracy": 0.9, "size_bytes": 100.0})
    add_model(store, "child", parent="base", steps=[Step("tune")], metrics={"accuracy": 0.8, "size_bytes": 40.0})
    add_model(store, "other", parent="base", steps=[Step("cut")], metrics={"accuracy": 0.5, "size_bytes": 10.0})
    add_model(store, "unmeasured", parent="base", steps=[Step("loose")], metrics={"accuracy": 0.5})

    found = recommendations(
        open_views(tmp_path), ["accuracy", "size_bytes"], at_most={"size_bytes": 50}, at_least={"accuracy": 0.6}
    )

    assert found["model_id"].to_pylist() == ["child"]


def test_the_change_of_accuracy_has_its_paired_interval(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions=DIRECTIONS)
    right, wrong = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]
    labels = [0] * 100
    add_model(
        store,
        "base",
        metrics={"accuracy": 0.9, "size_bytes": 9.0},
        labels=labels,
        probabilities=[right] * 90 + [wrong] * 10,
    )
    add_model(store, "child", parent="base", steps=[Step("cut")], metrics={"accuracy": 0.7, "size_bytes": 1.0},
              labels=labels, probabilities=[right] * 70 + [wrong] * 30)  # fmt: skip

    rows = recommendations(open_views(tmp_path), ["accuracy", "size_bytes"]).to_pylist()

    changes = {row["model_id"]: (row["accuracy_change_low"], row["accuracy_change_high"]) for row in rows}
    assert changes["base"] == (0.0, 0.0)
    assert -0.30 < changes["child"][0] < -0.2 < changes["child"][1] < -0.1


def test_a_model_that_was_timed_in_a_good_moment_is_not_recommended(tmp_path: Path) -> None:
    directions = {"accuracy": "higher", "latency_p50_ms": "lower", "speedup": "higher"}
    store = new_store(tmp_path, directions=directions)
    add_model(store, "base", metrics={"accuracy": 0.9, "latency_p50_ms": 2.0, "speedup": 1.0})
    fast = {"accuracy": 0.9, "latency_p50_ms": 2.2, "speedup": 1.5}
    lucky = {"accuracy": 0.3, "latency_p50_ms": 1.0, "speedup": 1.0}
    add_model(store, "fast", parent="base", steps=[Step("cut")], metrics=fast)
    add_model(store, "lucky", parent="base", steps=[Step("spoil")], metrics=lucky)
    views = open_views(tmp_path)

    found = recommendations(views, ["accuracy", "latency_p50_ms"])

    assert found["model_id"].to_pylist() == ["fast"]
    assert found["latency_p50_ms"].to_pylist() == [2.2]
    by_values = front(views, ["accuracy", "latency_p50_ms"]).to_pylist()
    assert [row["model_id"] for row in by_values if row["on_front"]] == ["base", "lucky"]
