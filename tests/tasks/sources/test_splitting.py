import pytest
from pydantic import ValidationError

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks import SPLITS
from cc_ray.tasks.sources import Sources, contents


def held(count: int, start: int = 0) -> list[bytes]:
    return contents(str(number).encode() for number in range(start, start + count))


def test_one_source_is_cut_by_content() -> None:
    sources = Sources(train="all.npz", evaluation_share=0.3, calibration_share=0.1)

    cut = sources.cut([1000], held(1000))

    counts = {split: len(cut.places(split)) for split in SPLITS}
    assert sum(counts.values()) == 1000
    assert 250 < counts["evaluation"] < 350
    assert 60 < counts["calibration"] < 140


def test_more_data_moves_no_instance() -> None:
    sources = Sources(train="all.npz")

    few, many = sources.cut([100], held(100)), sources.cut([500], held(500))

    assert (many.split[:100] == few.split).all()


def test_equal_instances_are_in_one_split() -> None:
    cut = Sources(train="all.npz").cut([200], [*held(100), *held(100)])

    assert (cut.split[:100] == cut.split[100:]).all()


def test_sources_keep_their_split_and_what_was_judged_is_not_trained_on() -> None:
    sources = Sources(train="train.npz", evaluation="test.npz", calibration_share=0.5)

    cut = sources.cut([10, 100], [*held(10), *held(100)])

    assert cut.places("evaluation").tolist() == list(range(10))
    assert (cut.split[10:20] == "").all()
    assert set(cut.split[20:]) == {"calibration", "train"}


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(InvalidRecipeError, match="of 1 instances none is left for the split"):
        Sources(train="all.npz").cut([1], held(1))


@pytest.mark.parametrize("shares", [{"evaluation_share": 0.9}, {"calibration_share": 1.0}, {"evaluation_share": 0.0}])
def test_shares_leave_something_to_train_on(shares: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Sources(train="all.npz", **({"calibration_share": 0.1} | shares))  # type: ignore[arg-type]
