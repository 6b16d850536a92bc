import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cc_ray.store.encoding import KEY_BYTES, Entry, Type, decode, encode, encode_int8, real_values, size_bytes
from cc_ray.store.grid import FLOAT8, Array

FLOATS = hnp.arrays(
    st.sampled_from([np.float16, np.float32, np.float64]),
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=6),
    elements=st.sampled_from([0.0, -0.0, 1.5, -3.25, float("nan"), float("inf")]),
)


def same_bits(ours: Array, theirs: Array) -> bool:
    return ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()


def name_of(values: Array) -> Type:
    name: Type = values.dtype.name  # type: ignore[assignment]  # only such types are drawn
    return name


def sparse_grid(rng: np.random.Generator, bits: int, zeros: float) -> tuple[Array, Array]:
    """Weights of 64 channels on symmetric grids, and the grids' steps."""
    top = 2 ** (bits - 1) - 1
    scale = rng.uniform(0.01, 0.1, (64, 1)).astype(np.float32)
    steps = rng.integers(-top, top + 1, (64, 200)) * (rng.random((64, 200)) >= zeros)
    return (steps * scale).astype(np.float32), scale


@given(FLOATS)
def test_every_float_array_comes_back_bit_for_bit(values: Array) -> None:
    entry, parts = encode(values, name_of(values))

    assert same_bits(decode(entry, parts), values)


@given(FLOATS, st.floats(0.01, 10))
def test_also_where_a_scale_does_not_fit(values: Array, step: float) -> None:
    scale = np.full((1,) * values.ndim, step, values.dtype)

    entry, parts = encode(values, name_of(values), scale)

    assert same_bits(decode(entry, parts), values)
    assert same_bits(parts["scale"], scale)


@settings(deadline=None)
@given(st.integers(2, 8), st.sampled_from([0.0, 0.5, 0.95]), st.integers(0, 100))
def test_values_on_a_grid_take_their_bits(bits: int, zeros: float, seed: int) -> None:
    values, scale = sparse_grid(np.random.default_rng(seed), bits, zeros)

    entry, parts = encode(values, "float32", scale)

    assert entry.encoding == "codes" and entry.bits <= bits
    assert same_bits(decode(entry, parts), values)
    dense, sparse = values.size * bits / 8, (values.size + np.count_nonzero(values) * bits) / 8
    assert size_bytes(parts) <= min(dense, sparse + KEY_BYTES) + scale.nbytes + 2 + 2


def test_an_asymmetric_grid_takes_no_more_bits() -> None:
    steps = np.array([[0, 15], [-15, 0], [-7, 8]] * 50)
    scale = np.linspace(0.1, 0.2, 150, dtype=np.float32)[:, None]
    values = (np.repeat(steps, 20, axis=1) * scale).astype(np.float32)

    entry, parts = encode(values, "float32", scale)

    assert (entry.encoding, entry.bits) == ("codes", 4)
    assert same_bits(decode(entry, parts), values)


@pytest.mark.parametrize("zeros", [0.0, 0.9])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_groups_of_a_row_have_scales_of_their_own(zeros: float, asymmetric: bool) -> None:
    rng = np.random.default_rng(1)
    # 200 columns in groups of at most 32: seven runs, six of 29 and one of 26.
    scale = rng.uniform(0.01, 0.1, (64, 7)).astype(np.float16).astype(np.float32)
    steps = (rng.integers(-7, 8, (64, 200)) + 4 * asymmetric) * (rng.random((64, 200)) >= zeros)
    values = (steps * np.repeat(scale, 29, axis=1)[:, :200]).astype(np.float32)

    entry, parts = encode(values, "float32", scale)

    assert (entry.encoding, entry.bits, entry.blocked, entry.format) == ("codes", 4, True, 2)
    assert same_bits(decode(entry, parts), values)
    assert parts["scale"].dtype == np.float16, "it holds these scales exactly"
    assert size_bytes(parts) <= values.size * 4 / 8 + 64 * 7 * (2 + 1)


def test_scales_of_groups_that_float16_cannot_hold_stay() -> None:
    scale = np.full((8, 2), 0.1, np.float32)

    entry, parts = encode(np.repeat(scale, 50, axis=1), "float32", scale)

    assert parts["scale"].dtype == np.float32 and entry.blocked


def test_8_bit_floats_take_a_byte() -> None:
    rng = np.random.default_rng(2)
    scale = rng.uniform(0.01, 0.1, (64, 1)).astype(np.float32)
    values = (FLOAT8[rng.choice(np.r_[0:127, 129:255], (64, 200))] * scale).astype(np.float32)

    entry, parts = encode(values, "float32", scale)

    assert (entry.encoding, entry.stored_type, entry.format) == ("float8", "float8_e4m3fn", 2)
    assert same_bits(decode(entry, parts), values)
    assert size_bytes(parts) == values.size + scale.nbytes


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("counts", [(1, 1), (4, 1), (3, 2)])
@pytest.mark.parametrize("zeros", ["none", "many"])
def test_values_of_a_palette_take_its_bits(dtype: Type, counts: tuple[int, int], zeros: str) -> None:
    rng = np.random.default_rng(3)
    palette = np.sort(rng.normal(size=(*counts, 6))).astype(dtype)
    rows, columns = (np.arange(length) // -(-length // count) for length, count in zip((12, 200), counts, strict=True))
    values = palette[rows[:, None], columns[None], rng.integers(6, size=(12, 200))]
    if zeros == "many":
        values *= rng.random(values.shape) < 0.1
        values += 0.0

    entry, parts = encode(values, dtype, palette=palette)

    assert (entry.encoding, entry.bits, entry.sparse) == ("palette", 3, zeros == "many")
    assert same_bits(decode(entry, parts), values)
    kept = np.count_nonzero(values)
    assert size_bytes(parts) == palette.nbytes + (-(-2400 * 3 // 8) if zeros == "none" else 300 + -(-kept * 3 // 8))


def test_values_that_left_their_palette_are_kept_as_they_are() -> None:
    values, palette = np.linspace(1, 2, 100, dtype=np.float32)[None], np.array([[[1.0, 2.0]]], np.float32)

    entry, parts = encode(values, "float32", palette=palette)

    assert (entry.encoding, entry.palette) == ("dense", True)
    assert same_bits(decode(entry, parts), values) and same_bits(parts["palette"], palette)


def test_the_smallest_encoding_is_taken() -> None:
    values = np.arange(1, 1001, dtype=np.float32)

    assert encode(values, "float32")[0].encoding == "dense"
    values[:500] = 0
    entry, parts = encode(values, "float32")
    assert entry.encoding == "bitmap"
    assert size_bytes(parts) == 125 + 4 * 500
    assert encode(values[:20], "float32")[0].encoding == "dense", "a tiny tensor is not worth a mask"


def test_bfloat16_is_kept_as_its_bits() -> None:
    patterns = np.array([0x3F80, 0xC040, 0x0000], np.uint16)

    entry, parts = encode(patterns, "bfloat16")

    assert same_bits(decode(entry, parts), patterns)
    assert real_values(entry, parts).tolist() == [1.0, -3.0, 0.0]


@pytest.mark.parametrize("zeros", [0.0, 0.9])
def test_int8_is_masked_where_that_is_smaller(zeros: float) -> None:
    rng = np.random.default_rng(0)
    qdata = (rng.integers(1, 127, (32, 64)) * (rng.random((32, 64)) >= zeros)).astype(np.int8)
    scale, zero_point = rng.random((32, 1), np.float32), np.zeros((32, 1), np.int8)

    entry, parts = encode_int8(qdata, scale, zero_point, dtype="float32", dynamic=True)

    assert entry.sparse == bool(zeros)
    assert same_bits(decode(entry, parts), qdata)
    assert np.array_equal(real_values(entry, parts), (qdata * scale).astype(np.float32))
    assert entry.stored_type == "int8"


CODES = {"codes": np.zeros(2, np.uint8), "offsets": np.zeros((1, 1), np.int16), "scale": np.ones((1, 1), np.float32)}
PALETTE = {"codes": np.zeros(2, np.uint8), "palette": np.ones((1, 1, 2), np.float32)}
INT8 = {
    "qdata": np.zeros((2, 3), np.int8),
    "scale": np.ones((2, 1), np.float32),
    "zero_point": np.zeros((2, 1), np.int8),
}


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        (Entry(encoding="dense", dtype="float32", shape=(3,)), {"": np.zeros(2, np.float32)}),
        (Entry(encoding="dense", dtype="float32", shape=(2,)), {"": np.zeros(2, np.float64)}),
        (
            Entry(encoding="bitmap", dtype="float32", shape=(9,)),
            {"mask": np.zeros(1, np.uint8), "values": np.zeros(0, np.float32)},
        ),
        (
            Entry(encoding="bitmap", dtype="float32", shape=(8,)),
            {"mask": np.array([3], np.uint8), "values": np.zeros(3, np.float32)},
        ),
        (Entry(encoding="bitmap", dtype="float32", shape=(10**15,)), {"mask": np.zeros(1, np.uint8), "values": CODES}),
        (Entry(encoding="codes", dtype="float32", shape=(2, 9), bits=1), CODES),
        (Entry(encoding="codes", dtype="float32", shape=(10**9, 10**9), bits=8), CODES),
        (Entry(encoding="codes", dtype="float16", shape=(2, 8), bits=1), CODES),
        (
            Entry(encoding="codes", dtype="float32", shape=(2, 8), bits=1),
            CODES | {"scale": np.ones((3, 1), np.float32)},
        ),
        (Entry(encoding="float8", dtype="float32", shape=(10**9, 10**9), scaled=True), CODES),
        (Entry(encoding="palette", dtype="float32", shape=(2, 9), bits=1, palette=True), PALETTE),
        (Entry(encoding="palette", dtype="float64", shape=(2, 8), bits=1, palette=True), PALETTE),
        (
            Entry(encoding="palette", dtype="float32", shape=(2, 8), bits=1, palette=True),
            PALETTE | {"palette": np.ones((3, 1, 2), np.float32)},
        ),
        (
            Entry(encoding="palette", dtype="float32", shape=(2, 8), bits=1, palette=True),
            {"codes": np.full(2, 255, np.uint8), "palette": np.ones((1, 1, 1), np.float32)},
        ),
        (Entry(encoding="int8", dtype="float32", shape=(2, 4)), INT8),
        (Entry(encoding="int8", dtype="float32", shape=(2, 3)), INT8 | {"scale": np.ones((10**6, 1), np.float32)}),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_memory_is_taken(entry: Entry, parts: dict[str, Array]) -> None:
    with pytest.raises(ValueError):
        real_values(entry, parts)
