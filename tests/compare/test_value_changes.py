from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cc_ray.compare.layers.saved_weights import Beside, Picked
from cc_ray.compare.layers.value_bins import Bins
from cc_ray.compare.layers.value_changes import NUMBERS, STEPS
from cc_ray.compare.layers.weight_changes import BANDS, tally
from cc_ray.store.blocks import BLOCK

Floats = NDArray[np.float32]


def tallied(m: Floats, b: Floats, bins: Bins) -> tuple[dict[str, float], Any]:
    """The numbers by name, and the counts by bin and band."""
    [(count, numbers, [counts])] = tally(Beside(Picked(b), {"model": Picked(m)}), 0, len(m), [bins])
    assert count == len(m)
    return dict(zip(NUMBERS, numbers.tolist(), strict=True)), counts


def band_of(m: float, b: float) -> int:
    """The band in exact arithmetic."""
    if m == b:
        return 0
    return min(int(STEPS * abs((Fraction(m) - Fraction(b)) / Fraction(b))), STEPS) if b else STEPS


def counts_of(m: Floats, b: Floats, bins: Bins) -> Any:
    """The counts in double precision, by histograms."""
    with np.errstate(all="ignore"):
        bands = np.minimum(np.where(m == b, 0, np.abs(m.astype(float) - b) / np.abs(b.astype(float))) * STEPS, STEPS)
    edges = [-np.inf, *bins.edges[1:-1], np.inf]
    return np.stack([np.histogram(m[bands.astype(int) == band], edges)[0] for band in range(STEPS + 1)], axis=1)


def test_values_on_an_edge_of_a_band_and_beside_it_lie_where_exact_arithmetic_has_them() -> None:
    generator = np.random.default_rng(0)
    b = (5 * generator.integers(1, 2**20, 500)).astype(np.float32) * np.float32(2.0**-30)
    b *= generator.choice(np.array([-1, 1], np.float32), len(b))
    on = np.concatenate([b * np.float32(1 + sign * step / STEPS) for sign in (-1, 1) for step in range(STEPS + 3)])
    near = [on, np.nextafter(on, np.float32(np.inf)), np.nextafter(on, np.float32(-np.inf))]
    own, base = np.concatenate(near), np.tile(b, 3 * 2 * (STEPS + 3))
    # Next to zero, double precision does not tell m - b from b.
    told = (own == 0) | (np.abs(own) > 1e-12 * np.abs(base))

    _, counts = tallied(own[told], base[told], Bins(0, 0, 0))

    expected = [band_of(m, b) for m, b in zip(own[told].tolist(), base[told].tolist(), strict=True)]
    assert counts[0].tolist() == np.bincount(expected, minlength=len(BANDS)).tolist()


@pytest.mark.parametrize(("m", "b", "band"), [(0, 0, 0), (-0.0, 0, 0), (1e-45, 0, 5), (-3e38, 0, 5), (3e38, 1e-45, 5)])
def test_against_zero_any_change_is_more_and_none_is_none(m: float, b: float, band: int) -> None:
    _, counts = tallied(np.array([m], np.float32), np.array([b], np.float32), Bins(0, 0, 0))

    assert counts[0].tolist() == np.eye(len(BANDS), dtype=int)[band].tolist()


@pytest.mark.parametrize("size", [1, 7, 8192, BLOCK + 3, 3 * BLOCK + 1])
@pytest.mark.parametrize("bins", [Bins(-3, -16, 15), Bins(-7, -300, 299), Bins(1, -1, 0), Bins(-140, -2, 2)])
def test_counts_and_sums_are_those_of_plain_numpy_for_any_size_and_bins(size: int, bins: Bins) -> None:
    generator = np.random.default_rng(size)
    b = generator.standard_normal(size).astype(np.float32)
    m = np.where(generator.random(size) < 0.3, 0, b * (1 + generator.standard_normal(size))).astype(np.float32)
    m[::11], m[5::13], m[3::17] = -1e-40, np.round(m[5::13] * 8) / 8, 1e30

    numbers, counts = tallied(m, b, bins)

    assert counts.tolist() == counts_of(m, b, bins).tolist()
    wide, base = m.astype(float), b.astype(float)
    assert numbers["sum_absolute"] == pytest.approx(np.abs(wide).sum(), rel=1e-13)
    assert numbers["sum_square"] == pytest.approx((wide**2).sum(), rel=1e-13)
    assert numbers["sum_absolute_change"] == pytest.approx(np.abs(wide - base).sum(), rel=1e-13)
    assert numbers["sum_square_change"] == pytest.approx(((wide - base) ** 2).sum(), rel=1e-13)
    assert numbers["base_square"] == pytest.approx((base**2).sum(), rel=1e-13)


def test_bins_far_from_zero_are_told_apart() -> None:
    m = np.array([2**29, 2**29 + 64, 2**29 + 128], np.float32)

    _, counts = tallied(m, m.copy(), Bins(1, 2**28, 2**28 + 40))

    assert np.flatnonzero(counts[:, 0]).tolist() == [0, 32, 40]


def test_the_base_itself_counts_as_a_model_without_change() -> None:
    values = np.random.default_rng(0).standard_normal(BLOCK + 9).astype(np.float32)
    values[3] = np.nan
    base, bins = Picked(values), Bins(-2, -8, 7)

    [own, copy] = tally(Beside(base, {"base": base, "copy": Picked(values.copy())}), 0, base.size, [bins])

    assert own[1] == pytest.approx(copy[1], rel=1e-13)
    assert own[2][0].tolist() == copy[2][0].tolist()
    assert own[1][0] == 1


def test_more_models_than_are_held_at_once_keep_their_order() -> None:
    base = Picked(np.ones(16, np.float32))
    models = {str(level): Picked(np.full(16, level, np.float32)) for level in range(20)}

    found = tally(Beside(base, models), 0, 16, [])

    assert [numbers[1] for _, numbers, _ in found] == [16.0 * level for level in range(20)]
