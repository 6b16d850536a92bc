import gc
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from cc_ray.compare.statistics.intervals import EXACT_BELOW, holm, mcnemar, paired_bootstrap, wilson

COUNTS = st.integers(0, 200)


@given(st.integers(1, 10_000), st.data())
def test_wilson_is_the_known_interval(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))

    low, high = wilson([successes], [n])

    expected = proportion_confint(successes, n, method="wilson")
    np.testing.assert_allclose([low[0], high[0]], expected, atol=1e-9)


@given(COUNTS, COUNTS)
def test_mcnemar_is_the_known_test(b: int, c: int) -> None:
    exact = b + c < EXACT_BELOW
    expected = reference_mcnemar([[0, b], [c, 0]], exact=exact, correction=False).pvalue if b + c else 1.0

    assert mcnemar([b], [c])[0] == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_mcnemar_is_exact_for_few_flips() -> None:
    assert mcnemar([9], [2])[0] == pytest.approx(stats.binomtest(2, 11).pvalue)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_the_known_correction(p: list[float]) -> None:
    # The known one collects garbage at each call, which takes seconds in a process that has run many tests.
    with patch.object(gc, "collect"):
        known = multipletests(p, method="holm")[1]

    np.testing.assert_allclose(holm(p), known, atol=1e-12)


def test_the_bootstrap_interval_is_that_of_resampled_pairs() -> None:
    b, c, n = 30, 10, 400
    differences = np.repeat([-1, 1, 0], [b, c, n - b - c])
    draws = np.random.default_rng(1).choice(differences, (4000, n)).mean(axis=1)

    low, high = paired_bootstrap(b, c, n)

    np.testing.assert_allclose([low[0], high[0]], np.quantile(draws, [0.025, 0.975]), atol=0.006)


def test_the_ends_of_a_row_depend_on_its_own_counts_alone() -> None:
    rng = np.random.default_rng(0)
    b, c = rng.integers(0, 300, (2, 50))

    together = np.stack(paired_bootstrap(b, c, [1000] * 50))

    alone = [paired_bootstrap(*row, 1000) for row in zip(b, c, strict=True)]
    np.testing.assert_array_equal(together, np.concatenate([np.stack(ends) for ends in alone], axis=1))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.data())
def test_the_ends_are_the_percentiles_of_all_resamples(n: int, data: st.DataObject) -> None:
    b = data.draw(st.integers(0, n))
    c = data.draw(st.integers(0, n - b))
    chances = np.array([1.0])
    for _ in range(n):
        chances = np.convolve(chances, [b / n, 1 - (b + c) / n, c / n])
    below = np.cumsum(chances)

    low, high = paired_bootstrap(b, c, n)

    # Each end is the difference at which so many of the resamples lie below it.
    for end, share in ((low[0], 0.025), (high[0], 0.975)):
        place = round(end * n) + n
        assert below[place] >= share - 1e-9
        assert place == 0 or below[place - 1] <= share + 1e-9


def test_the_bootstrap_interval_is_empty_without_flips() -> None:
    assert [end[0] for end in paired_bootstrap(0, 0, 10)] == [0.0, 0.0]
    assert [end[0] for end in paired_bootstrap(10, 0, 10)] == [-1.0, -1.0]
