import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_ray.compress.masks import lowest, lowest_of_blocks, lowest_of_rows, share_between


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=40), st.floats(0, 1))
def test_exactly_the_asked_count_is_chosen_and_none_above_one_that_stays(values: list[float], share: float) -> None:
    scores = torch.tensor(values)

    mask = lowest([scores[:3], scores[3:]], share)

    chosen = torch.cat(mask)
    assert int(chosen.sum()) == round(share * len(values))
    if chosen.any() and not chosen.all():
        assert scores[chosen].max() <= scores[~chosen].min()


def test_of_equal_scores_the_first_go() -> None:
    [mask] = lowest([torch.ones(2, 3)], 0.5)

    assert mask.tolist() == [[True, True, True], [False, False, False]]
    assert lowest_of_rows(torch.ones(2, 4), 0.5).tolist() == [[True, True, False, False]] * 2
    assert lowest_of_blocks(torch.ones(1, 4), 1, 2).tolist() == [[True, False, True, False]]


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 9), st.floats(0, 1), st.integers(0, 100))
def test_rows_lose_the_same_share_and_all_of_them_exactly_the_asked_count(
    rows: int, columns: int, share: float, seed: int
) -> None:
    scores = torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed))

    mask = lowest_of_rows(scores, share)

    assert int(mask.sum()) == round(share * rows * columns)
    for row, gone in zip(scores, mask, strict=True):
        assert abs(int(gone.sum()) - share * columns) <= 1.5
        assert torch.equal(gone, row <= row.sort().values[int(gone.sum()) - 1]) if gone.any() else True


@pytest.mark.parametrize(("kept", "of"), [(2, 4), (1, 4), (4, 8), (1, 3)])
def test_in_every_block_the_largest_stay(kept: int, of: int) -> None:
    scores = torch.rand(5, 24, generator=torch.Generator().manual_seed(0))

    mask = lowest_of_blocks(scores, kept, of)

    for block, gone in zip(scores.reshape(-1, of), mask.reshape(-1, of), strict=True):
        assert sorted(block[~gone].tolist()) == sorted(block.tolist())[-kept:]


@settings(deadline=None)
@given(st.floats(0, 1), st.lists(st.integers(0, 30), max_size=8))
def test_counts_of_parts_add_up_to_that_of_the_whole(share: float, sizes: list[int]) -> None:
    bounds = [sum(sizes[:end]) for end in range(len(sizes) + 1)]

    counts = [share_between(share, *pair) for pair in itertools.pairwise(bounds)]

    assert sum(counts) == round(share * sum(sizes))
    assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))
