import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_effectsize

from cc_ray.compare.statistics.intervals import mcnemar, paired_bootstrap
from cc_ray.compare.statistics.significance import (
    Counts,
    benjamini_hochberg,
    cochran_q,
    cohen_h,
    difference_interval,
    welch,
)

SHARES = st.floats(0, 1)


@settings(max_examples=20, deadline=None)
@given(st.lists(SHARES, min_size=1, max_size=20))
def test_benjamini_hochberg_is_the_known_correction(p: list[float]) -> None:
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(SHARES, SHARES)
def test_cohen_h_is_the_known_effect_size(share: float, base_share: float) -> None:
    assert cohen_h(share, base_share) == pytest.approx(proportion_effectsize(share, base_share), abs=1e-12)


def test_cochran_q_is_the_known_test() -> None:
    correct = np.random.default_rng(0).random((5, 200)) < np.array([[0.6], [0.7], [0.7], [0.8], [0.65]])

    found = cochran_q(correct)

    expected = cochrans_q(correct.T.astype(int))
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.freedom == expected.df
    assert found.p == pytest.approx(expected.pvalue)


def test_cochran_q_of_two_models_is_mcnemar() -> None:
    correct = np.zeros((2, 100), bool)
    correct[0, :40] = correct[1, 30:60] = True

    assert cochran_q(correct).p == pytest.approx(mcnemar(30, 20)[()])


def test_models_that_answer_alike_do_not_differ() -> None:
    assert cochran_q(np.array([[1, 0, 1], [1, 0, 1]])).p == 1


def test_welch_is_the_known_test_and_asks_for_two_values() -> None:
    first, second = [0.91, 0.93, 0.92], [0.88, 0.9, 0.83, 0.86]

    assert welch(first, second) == pytest.approx(stats.ttest_ind(first, second, equal_var=False).pvalue)
    assert np.isnan(welch([0.9], second))
    assert np.isnan(welch([0.9, 0.9], [0.9, 0.9]))


def test_intervals_of_many_subsets_are_those_of_each() -> None:
    lost, gained = np.divmod(np.arange(600), 25)

    low, high = difference_interval(lost, gained, np.full(600, 100))

    np.testing.assert_array_equal([low, high], paired_bootstrap(lost, gained, np.full(600, 100)))
    assert [len(end) for end in difference_interval([], [], [])] == [0, 0]


def test_an_empty_subset_has_no_measures() -> None:
    columns = Counts(*(np.array(values) for values in ([4, 0], [2, 0], [3, 0], [2, 0], [1, 0]))).columns()

    assert columns["n"].to_pylist() == [4, 0]
    assert columns["accuracy"].to_pylist() == [0.5, None]
    assert columns["difference"].to_pylist() == [-0.25, None]
    assert columns["mcnemar_p"].to_pylist() == [1.0, None]
