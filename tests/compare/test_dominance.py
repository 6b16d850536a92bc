from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cc_ray.compare.trade_offs.dominance import covered, minimal, not_dominated, not_dominated_beyond_noise

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 5))
FEW = settings(max_examples=40, deadline=None)
WHOLE = st.integers(0, 4).map(float)


def beats(a: Any, b: Any) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def beats_beyond_noise(a: tuple[Any, Any], b: tuple[Any, Any]) -> bool:
    return bool((a[1] < b[0]).any() and not (b[1] < a[0]).any())


@FEW
@given(arrays.arrays(float, SHAPES, elements=WHOLE))
def test_the_front_is_what_comparing_all_pairs_finds(values: Any) -> None:
    expected = [not any(beats(a, b) for a in values) for b in values]

    assert not_dominated(values).tolist() == expected
    assert sorted(map(tuple, minimal(values))) == sorted({tuple(row) for row in values[expected]})


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_many_rows_give_the_front_that_comparing_all_pairs_finds(columns: int) -> None:
    values = np.random.default_rng(columns).integers(0, 50, (700, columns)).astype(float)

    expected = [not ((values <= row).all(axis=1) & (values < row).any(axis=1)).any() for row in values]

    assert not_dominated(values).tolist() == expected


@FEW
@given(st.data(), st.integers(1, 5))
def test_a_point_is_covered_where_another_is_no_larger(data: st.DataObject, columns: int) -> None:
    points, by = (
        data.draw(arrays.arrays(float, st.tuples(st.integers(0, 50), st.just(columns)), elements=WHOLE)) for _ in "ab"
    )

    assert covered(points, by).tolist() == [bool((by <= point).all(axis=1).any()) for point in points]


@FEW
@given(arrays.arrays(float, SHAPES, elements=WHOLE))
def test_without_intervals_the_front_beyond_noise_is_the_front(values: Any) -> None:
    assert not_dominated_beyond_noise(values, values).tolist() == not_dominated(values).tolist()


@FEW
@given(arrays.arrays(float, st.tuples(st.integers(1, 25), st.integers(1, 4), st.just(2)), elements=WHOLE))
def test_off_the_front_beyond_noise_is_just_what_a_row_on_it_beats(ends: Any) -> None:
    low, high = ends.min(axis=2), ends.max(axis=2)
    rows = list(zip(low, high, strict=True))

    kept = not_dominated_beyond_noise(low, high)

    assert kept.any()
    on = [row for row, stays in zip(rows, kept, strict=True) if stays]
    for row, stays in zip(rows, kept, strict=True):
        assert stays or any(beats_beyond_noise(other, row) for other in on)


def test_a_row_of_models_each_within_the_noise_of_the_next_leaves_more_than_its_end() -> None:
    loss = np.linspace(0, 1, 11)
    low, high = (np.stack([loss - side * 0.16, 1 - loss], axis=1) for side in (1, -1))

    kept = not_dominated_beyond_noise(low, high)

    # Smaller counts where the loss is the same within the noise: one is left of each stretch of noise.
    assert np.flatnonzero(kept).tolist() == [2, 6, 10]


def test_models_that_beat_each_other_in_a_circle_all_stay() -> None:
    low = np.array([[0.0, 0, 2], [2, 0, 0], [0, 2, 0]])
    high = np.array([[1.0, 3, 3], [3, 1, 3], [3, 3, 1]])

    assert not_dominated_beyond_noise(low, high).all()


def test_no_models_have_an_empty_front() -> None:
    empty = np.empty((0, 3))

    assert not_dominated(empty).tolist() == not_dominated_beyond_noise(empty, empty).tolist() == []
