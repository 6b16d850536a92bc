import pytest

from cc_ray.search import SearchSpace, at_most, recipe
from cc_ray.search.verdicts import Front, Verdict, judged, worst_possible

SPACE = SearchSpace(
    "s",
    "digits",
    [recipe("resnet")],
    {"accuracy": "higher", "size_bytes": "lower"},
    constraints=[at_most("accuracy_drop", 0.02)],
)


def verdict(accuracy: float, size: float, drop: float = 0.0) -> Verdict:
    found = judged(SPACE, {"accuracy": accuracy, "size_bytes": size, "accuracy_drop": drop})
    assert found
    return found


def test_a_model_is_judged_by_its_objectives_and_bounds() -> None:
    assert verdict(0.9, 10, 0.03).excess == pytest.approx({"accuracy_drop at_most 0.02": 0.01})
    assert not verdict(0.9, 10, 0.03).keeps_bounds and verdict(0.9, 10, 0.02).keeps_bounds


@pytest.mark.parametrize("values", [None, {}, {"accuracy": float("nan"), "size_bytes": 1.0, "accuracy_drop": 0.0}])
def test_without_all_that_is_needed_there_is_no_verdict(values: dict[str, float] | None) -> None:
    assert judged(SPACE, values) is None


def test_the_volume_is_bounded_by_the_worst_possible_value_or_the_worst_base_model() -> None:
    front = Front(SPACE, worst_possible(SPACE))
    assert front.volume is None

    front.add_base(verdict(0.95, 100))
    assert front.add(verdict(0.9, 60)) and front.volume == pytest.approx(0.9 * 40)
    assert not front.add(verdict(0.8, 70)) and front.volume == pytest.approx(0.9 * 40)
    assert front.add(verdict(0.5, 20)) and front.volume == pytest.approx(0.9 * 40 + 0.5 * 40)

    front.add_base(verdict(0.95, 200))
    assert front.volume == pytest.approx(0.9 * 140 + 0.5 * 40)
