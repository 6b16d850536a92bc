import numpy as np

from dashboards.scales import colour_scale, column, sizes
from dashboards.theme import MISSING, SEQUENTIAL


def test_low_is_pale_and_high_is_dark() -> None:
    values = np.array([0.0, 0.5, 1.0])

    assert colour_scale(values)(values) == [SEQUENTIAL[0], SEQUENTIAL[127], SEQUENTIAL[255]]


def test_an_outlier_does_not_take_the_colours_of_the_others() -> None:
    values = np.array([0.9, 0.91, 0.92, 0.93, 0.94, 0.1])

    scale = colour_scale(values)

    assert (scale.low, scale.high, scale.below, scale.above) == (0.9, 0.94, True, False)
    assert scale(values)[0] == scale(values)[5] == SEQUENTIAL[0]


def test_values_that_many_have_are_no_outliers() -> None:
    sparsity = np.array([0.0] * 6 + [0.01, 0.5, 0.7, 0.9])

    scale = colour_scale(sparsity)

    assert (scale.low, scale.high, scale.above) == (0.0, 0.9, False)


def test_a_missing_value_is_grey_and_small() -> None:
    values = column([1.0, None, 2.0])

    assert colour_scale(values)(values)[1] == MISSING
    assert sizes(values, 4, 10).tolist() == [4, 4, 10]


def test_areas_grow_with_the_values() -> None:
    found = sizes(np.array([0.0, 1.0, 2.0]), 0.0, 10.0)

    assert np.allclose(found**2, [0, 50, 100])


def test_equal_values_and_none_at_all_have_a_scale() -> None:
    assert len(set(sizes(np.array([3.0, 3.0]), 4, 10).tolist())) == 1
    assert colour_scale(np.array([np.nan]))(np.array([np.nan])) == [MISSING]
