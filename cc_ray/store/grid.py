"""Blocks of a tensor that share a scale, an offset or a palette.

What is said of blocks is an array with as many axes as the tensor. Along an axis of length n it has c entries, each for
a run of ceil(n / c) places; the last run may be shorter. So (rows, 1) is one entry for each row, and (rows, 4) is four
entries for each row. `spread` repeats the entries for each value.

In numpy alone, so that weights are read without torch.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]


def run_length(length: int, count: int) -> int:
    """Places of an axis that share an entry."""
    return -(-length // count)


def fits(counts: Shape, shape: Shape) -> bool:
    """Whether so many entries along each axis belong to a tensor of this shape."""
    return len(counts) == len(shape) and all(
        1 <= count <= length and run_length(length, run_length(length, count)) == count
        for count, length in zip(counts, shape, strict=True)
    )


def split_axes(counts: Shape, shape: Shape) -> tuple[int, ...]:
    """Axes that are cut into runs; along the others all places share an entry, or each has its own."""
    pairs = enumerate(zip(counts, shape, strict=False))
    return tuple(axis for axis, (count, length) in pairs if count not in (1, length))


def spread(entries: Array, shape: Shape) -> Array:
    """The entry of each value of a tensor of this shape; memory is taken only along axes that are cut.

    Raises:
        ValueError: If the entries do not belong to such a tensor.
    """
    if not fits(entries.shape, shape):
        raise ValueError(f"entries for blocks of {shape} are expected, found shape {entries.shape}")
    for axis in split_axes(entries.shape, shape):
        run = run_length(shape[axis], entries.shape[axis])
        entries = np.take(entries, np.arange(shape[axis]) // run, axis=axis)
    return np.broadcast_to(entries, shape)


def lowest(values: Array, counts: Shape) -> Array:
    """The smallest value of each block."""
    for axis, (count, length) in enumerate(zip(counts, values.shape, strict=True)):
        if count != length:
            starts = np.arange(0, length, run_length(length, count))
            values = np.minimum.reduceat(values, starts, axis=axis)
    return values


def bits_of(palette: Array) -> int:
    """Bits of a code of a palette, (..., entries)."""
    entries: int = palette.shape[-1]
    return max(1, (entries - 1).bit_length())


def palette_codes(values: Array, palette: Array) -> tuple[NDArray[np.int64], Array]:
    """The entry of its block's palette that is nearest above each value or, where none is above, the last.

    Args:
        values: Any values.
        palette: For blocks of `values`, with one axis more, along which entries rise.

    Returns:
        The codes, and the entries that they stand for, in the shape of the values.
    """
    flat = palette.reshape(-1, palette.shape[-1])
    blocks = spread(np.arange(len(flat)).reshape(palette.shape[:-1]), values.shape)
    order = np.argsort(blocks, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(blocks.ravel(), minlength=len(flat)))
    codes = np.empty(values.size, np.int64)
    for entries, places in zip(flat, np.split(order, ends[:-1]), strict=True):
        codes[places] = np.searchsorted(entries, values.ravel()[places]).clip(0, len(entries) - 1)
    return codes.reshape(values.shape), flat[blocks, codes.reshape(values.shape)]


def _float8() -> NDArray[np.float32]:
    """What each byte stands for; the two that stand for no number, and for -0, are 0."""
    codes = np.arange(256)
    exponents, mantissas = (codes >> 3) & 15, codes & 7
    magnitudes = np.where(exponents == 0, mantissas / 8 * 2.0**-6, (1 + mantissas / 8) * 2.0 ** (exponents - 7))
    numbers = np.where(codes & 127 == 127, 0, np.where(codes >= 128, -magnitudes, magnitudes))
    return (numbers + 0.0).astype(np.float32)


FLOAT8: Final = _float8()
"""The numbers of 8-bit floats with 4 bits of exponent and 3 of mantissa (OCP E4M3, torch's `float8_e4m3fn`), by byte.

Source: Micikevicius et al., 2022, "FP8 Formats for Deep Learning", https://arxiv.org/abs/2209.05433
"""
_ORDER: Final = np.unique(FLOAT8, return_index=True)


def float8_codes(values: Array) -> NDArray[np.int64]:
    """The byte of the nearest 8-bit float of each value; NaN gives any."""
    numbers, codes = _ORDER
    above = np.searchsorted(numbers, values).clip(1, len(numbers) - 1)
    nearer = above - (values - numbers[above - 1] <= numbers[above] - values)
    found: NDArray[np.int64] = codes[nearer]
    return found
