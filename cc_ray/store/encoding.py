"""How one tensor lies in a model file: the smallest of the exact encodings, in numpy alone.

A tensor called `name` lies under one or several keys of the file:

| encoding | keys | bytes for n values of which m are not zero |
|---|---|---|
| `dense` | `name` | those of its type |
| `bitmap` | `name#mask`, `name#values` | n / 8 + m times its type |
| `codes` | `name#codes`, `name#offsets`, `name#scale` | n * bits / 8, a scale per channel, 2 per offset |
| `codes`, sparse | as before and `name#mask` | n / 8 + m * bits / 8, a scale per channel, 2 per offset |
| `int8` | `name#qdata` (or `#mask` and `#values`), `name#scale`, `name#zero_point` | n and the scales |

A code is an unsigned integer of `bits` bits; (code + offset) * scale is the value, rounded once in the tensor's type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

Array = NDArray[Any]
Parts = dict[str, Array]
"""Arrays by the last part of their key: "" for `dense`, else mask, values, codes, offsets, scale, ..."""

Type = Literal["bfloat16", "float16", "float32", "float64", "bool", "uint8", "int8", "int16", "int32", "int64"]
"""Types of tensors that a model file can hold."""

CODED_TYPES: Final = ("float16", "float32", "float64")
FLOAT_TYPES: Final = ("bfloat16", *CODED_TYPES)
MAX_BITS: Final = 8
KEY_BYTES: Final = 100
"""About what one more key costs in the file's header: tiny tensors are not worth a mask."""


class Entry(BaseModel):
    """What the file's header says about one tensor that is not simply dense."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    encoding: Literal["dense", "bitmap", "codes", "int8"]
    dtype: Type
    """Type of the tensor's values once read; `bfloat16` lies in the file as uint16 of the same bits."""
    shape: tuple[NonNegativeInt, ...]
    bits: Annotated[int, Field(ge=1, le=MAX_BITS)] = MAX_BITS
    """Bits of a code."""
    sparse: bool = False
    """Only the values that are not zero are there, with a mask that says where."""
    scaled: bool = False
    """A scale belongs to the tensor: the model holds it beside the weight (or within, for `int8`)."""
    dynamic: bool = False
    """For `int8`: activations are quantized too, while the model runs."""

    @property
    def stored_type(self) -> str:
        """Type of the values on disk, such as `float32` or `uint4`."""
        if self.encoding == "codes":
            return f"uint{self.bits}"
        return "int8" if self.encoding == "int8" else self.dtype

    @property
    def keys(self) -> tuple[str, ...]:
        """The last parts of the keys that the tensor lies under."""
        if self.encoding == "codes":
            own: tuple[str, ...] = ("mask", "codes", "offsets") if self.sparse else ("codes", "offsets")
        elif self.encoding == "bitmap" or self.sparse:
            own = ("mask", "values")
        else:
            own = ("qdata",) if self.encoding == "int8" else ("",)
        more = ("zero_point",) if self.encoding == "int8" else ()
        return (*own, *more, "scale") if self.scaled else (*own, *more)


def encode(values: Array, dtype: Type, scale: Array | None = None) -> tuple[Entry, Parts]:
    """Choose the smallest encoding that gives the values back bit for bit.

    Args:
        values: Real values; uint16 bit patterns for bfloat16.
        dtype: Type of the tensor.
        scale: The step of the grid that the values lie on, if they are said to lie on one; broadcasts to `values`.
    """
    extra: Parts = {} if scale is None else {"scale": scale}
    entry = Entry(encoding="dense", dtype=dtype, shape=values.shape, scaled=scale is not None)
    choices = [(entry, {"": values, **extra})]
    if dtype in FLOAT_TYPES:
        choices.append((entry.model_copy(update={"encoding": "bitmap"}), {**_bitmap(values), **extra}))
    if scale is not None and dtype in CODED_TYPES:
        choices += _codes(values, scale, entry)
    return min(choices, key=lambda choice: _cost(choice[1]))


def encode_int8(qdata: Array, scale: Array, zero_point: Array, *, dtype: Type, dynamic: bool) -> tuple[Entry, Parts]:
    """Encode an integer tensor with its scales, dense or with a mask, whichever is smaller."""
    extra: Parts = {"scale": scale, "zero_point": zero_point}
    entry = Entry(encoding="int8", dtype=dtype, shape=qdata.shape, scaled=True, dynamic=dynamic)
    dense, sparse = {"qdata": qdata, **extra}, {**_bitmap(qdata), **extra}
    if _cost(dense) <= _cost(sparse):
        return entry, dense
    return entry.model_copy(update={"sparse": True}), sparse


def decode(entry: Entry, parts: Mapping[str, Array]) -> Array:
    """Give back the values bit for bit: in the tensor's type, bfloat16 as uint16 patterns, `int8` as its integers.

    Raises:
        ValueError: If the parts do not fit the entry or one another.
    """
    if entry.encoding == "int8":
        return _decode_int8(entry, parts)
    if entry.encoding == "codes":
        return _decode_codes(entry, parts)
    values = _unmask(entry.shape, parts) if entry.encoding == "bitmap" else parts[""]
    return _of(values, numpy_type(entry.dtype), entry)


def real_values(entry: Entry, parts: Mapping[str, Array]) -> NDArray[np.float32]:
    """The values as float32, dequantized.

    Raises:
        ValueError: If the parts do not fit the entry or one another.
    """
    values = decode(entry, parts)
    if entry.encoding == "int8":
        centred = values.astype(np.int32) - parts["zero_point"].astype(np.int32)
        return (centred * parts["scale"]).astype(np.float32)
    return widened(values, entry.dtype)


def widened(values: Array, dtype: Type) -> NDArray[np.float32]:
    """Values of a type as float32; those of bfloat16 are given as uint16 of the same bits."""
    if dtype == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32, copy=False)


def size_bytes(parts: Mapping[str, Array]) -> int:
    """Bytes that the parts take in the file."""
    return sum(part.nbytes for part in parts.values())


def _cost(parts: Mapping[str, Array]) -> int:
    return size_bytes(parts) + KEY_BYTES * len(parts)


def numpy_type(dtype: str) -> np.dtype[Any]:
    """Type of the values as numpy holds them."""
    return np.dtype("uint16" if dtype == "bfloat16" else dtype)


def _of(values: Array, dtype: np.dtype[Any], entry: Entry) -> Array:
    if values.dtype != dtype or values.shape != entry.shape:
        raise ValueError(f"expected {dtype} of shape {entry.shape}, found {values.dtype} of shape {values.shape}")
    return values


def _bits(values: Array) -> Array:
    """The bit patterns: -0.0 is not the same as 0.0, NaN equals itself."""
    return np.asarray(values, order="C").view(f"u{values.dtype.itemsize}")


def _bitmap(values: Array) -> Parts:
    mask = _bits(values) != 0
    return {"mask": np.packbits(mask), "values": values[mask]}


def _mask(shape: tuple[int, ...], parts: Mapping[str, Array]) -> NDArray[np.bool_]:
    size = math.prod(shape)
    packed = parts["mask"]
    if packed.dtype != np.uint8 or packed.shape != ((size + 7) // 8,):
        raise ValueError(f"a mask of {size} bits is expected, found {packed.dtype} of shape {packed.shape}")
    return np.unpackbits(packed, count=size).astype(bool).reshape(shape)


def _unmask(shape: tuple[int, ...], parts: Mapping[str, Array]) -> Array:
    mask = _mask(shape, parts)
    values = parts["values"]
    if values.shape != (np.count_nonzero(mask),):
        raise ValueError(f"the mask has room for {np.count_nonzero(mask)} values, found shape {values.shape}")
    whole = np.zeros(shape, values.dtype)
    whole[mask] = values
    return whole


def _codes(values: Array, scale: Array, entry: Entry) -> list[tuple[Entry, Parts]]:
    """The two ways of codes, or none where codes would not give back the values bit for bit."""
    steps = _steps(values, scale)
    if steps is None:
        return []
    reduced = tuple(axis for axis in range(values.ndim) if scale.shape[axis] == 1)
    whole, by_channel = (steps.min(axis=axes, keepdims=True) for axes in (None, reduced))
    bits, offsets = min(((_width(steps - offsets), offsets) for offsets in (whole, by_channel)), key=lambda c: c[0])
    if bits > MAX_BITS:
        return []
    codes = steps - offsets
    mask = steps != 0
    more: Parts = {"offsets": offsets.astype(np.int16), "scale": scale}
    coded = entry.model_copy(update={"encoding": "codes", "bits": bits})
    masked: Parts = {"mask": np.packbits(mask), "codes": _pack(codes[mask], bits), **more}
    return [
        (coded, {"codes": _pack(codes.ravel(), bits), **more}),
        (coded.model_copy(update={"sparse": True}), masked),
    ]


def _steps(values: Array, scale: Array) -> NDArray[np.int64] | None:
    """How many times the scale each value is, if all are whole multiples of it."""
    if not values.size or scale.ndim != values.ndim or np.broadcast_shapes(scale.shape, values.shape) != values.shape:
        return None
    with np.errstate(all="ignore"):
        quotients = np.rint(values / scale)
    if not np.all(np.abs(quotients) < 2**15):
        return None
    steps = quotients.astype(np.int64)
    return steps if np.array_equal(_bits(on_grid(steps, scale)), _bits(values)) else None


def _width(codes: NDArray[np.int64]) -> int:
    return max(1, int(codes.max()).bit_length())


def on_grid(steps: Array, scale: Array) -> Array:
    """The values that so many steps of a grid stand for, fewer than 2^24, in the type of its scale."""
    # A product of float32 rounds once; of float16 it is exact in float64, which then rounds once.
    product = np.float32 if scale.dtype == np.float32 else np.float64
    return np.multiply(steps, scale, dtype=product).astype(scale.dtype, copy=False)


def _decode_codes(entry: Entry, parts: Mapping[str, Array]) -> Array:
    dtype, scale, offsets = numpy_type(entry.dtype), parts["scale"], parts["offsets"]
    if scale.dtype != dtype or offsets.dtype != np.int16:
        raise ValueError(f"a scale of {dtype} and offsets of int16 are expected, found {scale.dtype}, {offsets.dtype}")
    if entry.sparse:
        mask = _mask(entry.shape, parts)
        steps = np.zeros(entry.shape, np.int64)
        steps[mask] = unpack(parts["codes"], entry.bits, int(np.count_nonzero(mask)))
        steps[mask] += np.broadcast_to(offsets, entry.shape)[mask]
    else:
        codes = unpack(parts["codes"], entry.bits, math.prod(entry.shape)).reshape(entry.shape)
        steps = codes.astype(np.int64) + np.broadcast_to(offsets, entry.shape)
    return on_grid(steps, np.broadcast_to(scale, entry.shape))


def _decode_int8(entry: Entry, parts: Mapping[str, Array]) -> NDArray[np.int8]:
    rows = (*entry.shape[:-1], 1)
    if parts["scale"].shape != rows or parts["zero_point"].shape != rows:
        raise ValueError(f"scales and zero points of shape {rows} are expected")
    return _of(_unmask(entry.shape, parts) if entry.sparse else parts["qdata"], np.dtype(np.int8), entry)


def _pack(codes: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """Write codes one after the other, `bits` bits each, the highest bit first."""
    return np.packbits(np.unpackbits(codes.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :])


def unpack(packed: Array, bits: int, count: int) -> NDArray[np.uint8]:
    """Codes that lie one after the other, `bits` bits each, the highest bit first.

    Raises:
        ValueError: If there are not as many bytes as the codes take.
    """
    if packed.dtype != np.uint8 or packed.shape != ((count * bits + 7) // 8,):
        raise ValueError(f"{count} codes of {bits} bits are expected, found {packed.dtype} of shape {packed.shape}")
    if bits == 8:
        return packed
    if 8 % bits == 0:
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        codes: NDArray[np.uint8] = ((packed[:, None] >> shifts) & np.uint8(2**bits - 1)).ravel()[:count]
        return codes
    rows = np.unpackbits(packed, count=count * bits).reshape(count, bits)
    return np.packbits(np.pad(rows, ((0, 0), (8 - bits, 0))), axis=1)[:, 0]
