from pathlib import Path
from typing import Any

import pytest

from cc_ray.compare.trade_offs.fronts import front, fronts, recommendations
from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.recipe import Step
from cc_ray.views import Views, open_views
from tests.compare.small import START, Value, add_model, new_store

DIRECTIONS = {"accuracy": "higher", "size_bytes": "lower", "sparsity": "none"}


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
    everything = front(views, ["accuracy", "latency_p50_ms"])
    assert on(everything, "on_front") == on(everything, "on_front_interval") == {"fast"}
    assert dict(zip(*everything.select(["model_id", "latency_p50_ms"]).to_pydict().values(), strict=True)) == {
        "fast": 2.2, "base": 2.0, "lucky": 1.0
    }  # fmt: skip


def timed(path: Path, **speedups: Value) -> Views:
    """A base model, as accurate as can be, and worse children that are as fast as said."""
    store = new_store(path, directions={"accuracy": "higher", "latency_p50_ms": "lower", "speedup": "higher"})
    noisy = {"latency_p50_ms": (2.0, 1.8, 2.2), "speedup": (1.02, 0.9, 1.1)}
    add_model(store, "base", metrics={"accuracy": (0.9, 0.88, 0.92), **noisy})
    for place, (model_id, speedup) in enumerate(speedups.items()):
        metrics = {"accuracy": (0.8, 0.78, 0.82), "latency_p50_ms": (1.0, 0.9, 1.1), "speedup": speedup}
        add_model(store, model_id, parent="base", steps=[Step("cut", {"n": place})], metrics=metrics)
    return open_views(path)


def test_a_model_that_is_faster_by_less_than_its_interval_is_not_on_the_front_by_intervals(tmp_path: Path) -> None:
    views = timed(tmp_path, within=(1.05, 0.95, 1.15), beyond=(1.5, 1.4, 1.6))

    found = front(views, ["accuracy", "latency_p50_ms"], ids=["base", "within"])

    assert on(found, "on_front") == {"base", "within"}
    assert on(found, "on_front_interval") == {"base"}
    everything = front(views, ["accuracy", "latency_p50_ms"])
    assert on(everything, "on_front_interval") == {"base", "beyond"}


def test_a_model_without_a_speedup_is_judged_by_its_latency(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions={"latency_p50_ms": "lower", "speedup": "higher"})
    add_model(store, "base", metrics={"latency_p50_ms": 2.0, "speedup": 1.0})
    add_model(store, "raw", parent="base", steps=[Step("cut")], metrics={"latency_p50_ms": 1.5})
    add_model(store, "beside", parent="base", steps=[Step("trim")], metrics={"latency_p50_ms": 9.0, "speedup": 1.2})

    found = front(open_views(tmp_path), ["latency_p50_ms"])

    assert found["model_id"].to_pylist() == ["raw", "beside", "base"]


def test_a_front_keeps_to_bounds(tmp_path: Path) -> None:
    views = filled(
        tmp_path,
        good={"accuracy": 0.9, "size_bytes": 50.0},
        small={"accuracy": 0.5, "size_bytes": 10.0},
        unmeasured={"accuracy": 0.95},
    )

    found = front(views, ["accuracy"], at_most={"size_bytes": 20})

    assert found["model_id"].to_pylist() == ["small"]
    assert front(views, ["accuracy"], at_least={"size_bytes": 20})["model_id"].to_pylist() == ["good"]
    with pytest.raises(NotComparableError, match="did you mean 'size_bytes'"):
        front(views, ["accuracy"], at_most={"sizebytes": 1})


def test_a_front_per_operation_stands_beside_the_overall_one(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions=DIRECTIONS)
    add_model(store, "base", metrics={"accuracy": 0.9, "size_bytes": 100.0})
    for operation, accuracy in (("magnitude", 0.8), ("random", 0.3)):
        cut = Step(operation)
        add_model(store, operation, parent="base", steps=[cut], metrics={"accuracy": accuracy, "size_bytes": 50.0})
        metrics = {"accuracy": accuracy + 0.05, "size_bytes": 50.0}
        add_model(store, f"{operation}_tuned", parent=operation, steps=[cut, Step("tune")], metrics=metrics)

    found = fronts(open_views(tmp_path), ["accuracy", "size_bytes"])

    assert [(row["group"], row["model_id"], row["on_overall_front"]) for row in found.to_pylist()] == [
        ("magnitude", "magnitude_tuned", True),
        ("no operation", "base", True),
        ("random", "random_tuned", False),
        ("tune", "magnitude_tuned", True),
    ]


def test_fronts_go_by_base_and_study_and_nothing_else(tmp_path: Path) -> None:
    views = filled(tmp_path, good={"accuracy": 0.9}, bad={"accuracy": 0.5})

    for by, group in (("base", "net"), ("study", "study")):
        found = fronts(views, ["accuracy"], by=by)
        assert [(row["group"], row["model_id"]) for row in found.to_pylist()] == [(group, "good")]
    assert fronts(views, ["accuracy"], study="none").num_rows == 0
    with pytest.raises(NotComparableError, match="grouped by 'colour'"):
        fronts(views, ["accuracy"], by="colour")


def test_an_infinite_value_is_on_no_front(tmp_path: Path) -> None:
    infinite = float("inf")
    views = filled(
        tmp_path,
        a={"accuracy": 0.9, "size_bytes": 100.0},
        b={"accuracy": infinite, "size_bytes": 50.0},
        c={"accuracy": 0.5, "size_bytes": -infinite},
    )

    assert on(front(views, ["accuracy", "size_bytes"]), "on_front") == {"a"}
