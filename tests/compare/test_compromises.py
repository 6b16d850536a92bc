from pathlib import Path

import pytest

from cc_ray.compare.trade_offs.compromises import best_under, knee, spanning
from cc_ray.errors import NotComparableError
from cc_ray.recipe import Step
from cc_ray.views import Views, open_views
from tests.compare.small import Value, add_model, new_store

DIRECTIONS = {"accuracy": "higher", "size_bytes": "lower"}
OBJECTIVES = ["accuracy", "size_bytes"]


def filled(path: Path, **models: dict[str, Value]) -> Views:
    store = new_store(path, directions=DIRECTIONS)
    for model_id, metrics in models.items():
        add_model(store, model_id, metrics=metrics)
    return open_views(path)


def line(path: Path, count: int) -> Views:
    """Models on a straight front, and one that is on none."""
    points: dict[str, dict[str, Value]] = {
        f"m{n:02}": {"accuracy": n / count, "size_bytes": float(n)} for n in range(count)
    }
    return filled(path, **points, beaten={"accuracy": 0.0, "size_bytes": 5.0})


def test_models_that_span_a_front_begin_with_its_ends_and_stand_far_apart(tmp_path: Path) -> None:
    found = spanning(line(tmp_path, 9), OBJECTIVES, 3)

    assert found["model_id"].to_pylist() == ["m08", "m04", "m00"]
    assert found["place"].to_pylist() == [1, 3, 2]
    assert found["distance"].to_pylist() == [None, pytest.approx(2**0.5 / 2), pytest.approx(2**0.5)]


def test_a_front_with_fewer_models_is_given_whole_and_an_empty_one_empty(tmp_path: Path) -> None:
    views = line(tmp_path, 2)

    assert spanning(views, OBJECTIVES)["model_id"].to_pylist() == ["m01", "m00"]
    assert spanning(views, OBJECTIVES, at_most={"accuracy": -1})["place"].to_pylist() == []
    with pytest.raises(NotComparableError, match="ask for one at least"):
        spanning(views, OBJECTIVES, 0)


def test_the_knee_is_farthest_from_the_line_between_the_ends(tmp_path: Path) -> None:
    views = filled(
        tmp_path,
        accurate={"accuracy": 1.0, "size_bytes": 100.0},
        bent={"accuracy": 0.9, "size_bytes": 20.0},
        slack={"accuracy": 0.6, "size_bytes": 15.0},
        small={"accuracy": 0.0, "size_bytes": 0.0},
    )

    found = knee(views, OBJECTIVES).to_pylist()

    assert (found[0]["model_id"], found[0]["knee"]) == ("bent", True)
    # Scaled it lies at (0.1, 0.2), and the line is x + y = 1.
    assert found[0]["distance"] == pytest.approx(0.7 / 2**0.5)
    assert [row["knee"] for row in found[1:]] == [False] * 3


def test_a_straight_front_and_a_single_model_have_no_knee(tmp_path: Path) -> None:
    assert not any(knee(line(tmp_path / "line", 5), OBJECTIVES)["knee"].to_pylist())
    one = knee(filled(tmp_path / "one", only={"accuracy": 0.5, "size_bytes": 1.0}), OBJECTIVES)
    assert (one["distance"].to_pylist(), one["knee"].to_pylist()) == ([0.0], [False])
    assert knee(open_views(tmp_path / "one"), OBJECTIVES, at_least={"accuracy": 2}).num_rows == 0


def test_the_best_within_a_budget_says_what_is_as_good_within_the_noise(tmp_path: Path) -> None:
    views = filled(
        tmp_path,
        big={"accuracy": 0.99, "size_bytes": 100.0},
        best={"accuracy": (0.9, 0.88, 0.92), "size_bytes": 9.0},
        near={"accuracy": (0.89, 0.87, 0.91), "size_bytes": 5.0},
        far={"accuracy": (0.5, 0.48, 0.52), "size_bytes": 1.0},
        unmeasured={"accuracy": 0.95},
    )

    found = best_under(views, "accuracy", {"size_bytes": 10}).to_pylist()

    assert [(row["rank"], row["model_id"], row["within_noise"]) for row in found] == [
        (1, "best", True),
        (2, "near", True),
        (3, "far", False),
    ]
    assert [row["difference"] for row in found] == pytest.approx([0, -0.01, -0.4])
    assert [row["size_bytes"] for row in found] == [9, 5, 1]
    assert best_under(views, "size_bytes", at_least={"accuracy": 0.6}, limit=1)["model_id"].to_pylist() == ["near"]
    assert best_under(views, "accuracy", {"size_bytes": 0}).num_rows == 0


def test_accuracies_of_the_same_instances_are_compared_in_pairs(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions=DIRECTIONS)
    right, wrong = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]
    for model_id, correct in (("best", 90), ("worse", 80)):
        add_model(store, model_id, steps=[Step(model_id)], metrics={"accuracy": (correct / 100, 0.7, 0.95)},
                  labels=[0] * 100, probabilities=[right] * correct + [wrong] * (100 - correct))  # fmt: skip

    found = best_under(open_views(tmp_path), "accuracy").to_pylist()[1]

    # The intervals overlap; the ten instances that only the better one gets right tell them apart.
    assert -0.2 < found["difference_low"] < -0.1 < found["difference_high"] < 0
    assert found["within_noise"] is False
