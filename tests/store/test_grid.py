import numpy as np
import pytest
import torch

from cc_ray.store.grid import FLOAT8, fits, float8_codes, lowest, palette_codes, spread


@pytest.mark.parametrize("length", range(1, 40))
def test_an_axis_is_cut_into_as_many_runs_as_there_are_entries(length: int) -> None:
    for size in range(1, length + 1):
        count = -(-length // size)
        entries = spread(np.arange(count), (length,))

        assert fits((count,), (length,))
        assert sorted(set(entries.tolist())) == list(range(count))
        assert max(np.bincount(entries)) <= size


def test_what_does_not_belong_is_refused() -> None:
    assert not fits((4,), (5,)), "runs of two make three of five"
    assert not fits((1,), (5, 5)) and not fits((6,), (5,)) and not fits((0,), (5,))
    with pytest.raises(ValueError, match=r"entries for blocks of \(5,\) are expected, found shape \(4,\)"):
        spread(np.zeros(4), (5,))


def test_the_lowest_of_each_block_is_found() -> None:
    values = np.random.default_rng(0).integers(0, 99, (6, 10))

    found = lowest(values, (3, 4))

    assert found.tolist() == [[values[i : i + 2, j : j + 3].min() for j in (0, 3, 6, 9)] for i in (0, 2, 4)]


def test_codes_point_into_the_palette_of_their_block() -> None:
    palette = np.array([[[1.0, 2.0, 4.0]], [[-1.0, 0.0, 0.5]]])
    values = np.array([[4.0, 1.0], [2.0, 2.0], [0.5, -1.0], [0.0, 9.0]])

    codes, entries = palette_codes(values, palette)

    assert codes.tolist() == [[2, 0], [1, 1], [2, 0], [1, 2]]
    assert np.array_equal(entries[:3], values[:3]) and entries[3].tolist() == [0.0, 0.5]


def test_8_bit_floats_are_those_of_torch() -> None:
    bytes_ = torch.arange(256, dtype=torch.uint8)
    theirs = bytes_.view(torch.float8_e4m3fn).float()
    values = (torch.randn(5000, generator=torch.Generator().manual_seed(0)) * 100).clamp(-448, 448)

    assert np.array_equal(FLOAT8[np.isfinite(theirs.numpy())], theirs[theirs.isfinite()].numpy())
    nearest, rounded = FLOAT8[float8_codes(values.numpy())], values.to(torch.float8_e4m3fn).float().numpy()
    # Halfway between two, torch takes the even one.
    assert np.array_equal(np.abs(nearest - values.numpy()), np.abs(rounded - values.numpy()))
