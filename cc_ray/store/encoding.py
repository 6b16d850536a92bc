"""How one tensor lies in a model file: the smallest of the exact encodings, in numpy alone.

A tensor called `name` lies under one or several keys of the file:

| encoding | keys | bytes for n values of which m are not zero |
|---|---|---|
| `dense` | `name` | those of its type |
| `bitmap` | `name#mask`, `name#values` | n / 8 + m times its type |
| `codes` | `name#codes`, `name#offsets`, `name#scale` | n * bits / 8, a scale per channel, 2 per offset |
| `float8` | `name#codes`, `name#scale` | n, a scale per channel |
| `palette` | `name#codes`, `name#palette` | n * bits / 8 and the palettes |
| `int8` | `name#qdata` (or `#mask` and `#values`), `name#scale`, `name#zero_point` | n and the scales |

Of `codes`, `float8` and `palette` those of zeros may be left out: then n / 8 more for `name#mask`, and m instead of n.
A code is an unsigned integer of `bits` bits. For `codes`, (code + offset) * scale is the value, rounded once in the
tensor's type; for `float8`, the number of that byte (OCP 8-bit E4M3) * scale; for `palette`, the palette's entry.

Scales, offsets and palettes belong to blocks of a tensor (see `grid.py`). Where scales belong to parts of an axis, they
lie in float16 if that gives them back, and offsets in int8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from cc_ray.store.grid import FLOAT8, Array, bits_of, fits, float8_codes, lowest, palette_codes, split_axes, spread

Parts = dict[str, Array]
"""Arrays by the last part of their key: "" for `dense`, else mask, values, codes, offsets, scale, ..."""

Type = Literal["bfloat16", "float16", "float32", "float64", "bool", "uint8", "int8", "int16", "int32", "int64"]
"""Types of tensors that a model file can hold."""

CODED_TYPES: Final = ("float16", "float32", "float64")
FLOAT_TYPES: Final = ("bfloat16", *CODED_TYPES)
MAX_BITS: Final = 8

Form = Literal["static_int8", "grouped_int4", "dynamic_float8"]
"""How a weight on a grid computes in low bits; see `low_bit`."""
KEY_BYTES: Final = 100
"""About what one more key costs in the file's header: tiny tensors are not worth a mask."""


class Entry(BaseModel):
    """What the file's header says about one tensor that is not simply dense."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    encoding: Literal["dense", "bitmap", "codes", "float8", "palette", "int8"]
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
    blocked: bool = False
    """Scales belong to parts of an axis."""
    palette: bool = False
    """A palette belongs to the tensor: the model holds it beside the weight."""
    form: Form | None = None
    """The model holds the weight in low bits and computes with them; for `static_int8` the part `input` tells how it
    takes inputs."""

    @property
    def format(self) -> int:
        """The oldest version of the file's format that has such an entry."""
        if self.form in ("grouped_int4", "dynamic_float8"):
            return 3
        return 2 if self.blocked or self.palette or self.form or self.encoding in ("float8", "palette") else 1

    @property
    def stored_type(self) -> str:
        """Type of the values on disk, such as `float32` or `uint4`."""
        if self.encoding in ("codes", "palette"):
            return f"uint{self.bits}"
        return {"int8": "int8", "float8": "float8_e4m3fn"}.get(self.encoding, self.dtype)

    @property
    def keys(self) -> tuple[str, ...]:
        """The last parts of the keys that the tensor lies under."""
        integers = ("values",) if self.sparse else ("qdata",)
        kinds = {"dense": ("",), "bitmap": ("values",), "codes": ("codes", "offsets"), "int8": integers}
        own = kinds.get(self.encoding, ("codes",))
        masked = ("mask",) if self.sparse or self.encoding == "bitmap" else ()
        more = {"zero_point": self.encoding == "int8", "scale": self.scaled, "palette": self.palette,
                "input": self.form == "static_int8"}  # fmt: skip
        return (*masked, *own, *(name for name, there in more.items() if there))


def encode(values: Array, dtype: Type, scale: Array | None = None, palette: Array | None = None) -> tuple[Entry, Parts]:
    """Choose the smallest encoding that gives the values back bit for bit.

    Args:
        values: Real values; uint16 bit patterns for bfloat16.
        dtype: Type of the tensor.
        scale: The step of the grid that the values lie on, if they are said to lie on one; for blocks of `values`.
        palette: The values that there are, if they are said to be few; for blocks of `values`, with one axis more.
    """
    blocked = scale is not None and fits(scale.shape, values.shape) and bool(split_axes(scale.shape, values.shape))
    extra: Parts = {} if scale is None else {"scale": _narrowed(scale) if blocked else scale}
    if palette is not None:
        extra["palette"] = palette
    entry = Entry(
        encoding="dense", dtype=dtype, shape=values.shape, scaled=scale is not None, blocked=blocked,
        palette=palette is not None,
    )  # fmt: skip
    choices = [(entry, {"": values, **extra})]
    if dtype in FLOAT_TYPES:
        choices.append((entry.model_copy(update={"encoding": "bitmap"}), {**_bitmap(values), **extra}))
    if scale is not None and dtype in CODED_TYPES:
        choices += _codes(values, scale, entry, extra) or _float8(values, scale, entry, extra)
    if palette is not None and dtype in CODED_TYPES:
        choices += _palette(values, palette, entry, extra)
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
    if entry.encoding in _DECODERS:
        return _DECODERS[entry.encoding](entry, parts)
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


def _codes(values: Array, scale: Array, entry: Entry, extra: Parts) -> list[tuple[Entry, Parts]]:
    """The two ways of codes, or none where codes would not give back the values bit for bit."""
    steps = _steps(values, scale)
    if steps is None:
        return []
    whole, by_block = steps.min(keepdims=True), lowest(steps, scale.shape)
    bits, offsets = min(((_width(steps - spread(o, steps.shape)), o) for o in (whole, by_block)), key=lambda c: c[0])
    if bits > MAX_BITS:
        return []
    small = entry.blocked and offsets.min() >= -128 and offsets.max() < 128
    more = {"offsets": offsets.astype(np.int8 if small else np.int16), **extra}
    coded = entry.model_copy(update={"encoding": "codes", "bits": bits})
    return _coded(coded, steps - spread(offsets, steps.shape), steps != 0, more)


def _float8(values: Array, scale: Array, entry: Entry, extra: Parts) -> list[tuple[Entry, Parts]]:
    """As `_codes`, where the scale is that of 8-bit floats."""
    if not values.size or not fits(scale.shape, values.shape):
        return []
    scales = spread(scale, values.shape)
    with np.errstate(all="ignore"):
        codes = float8_codes(values / scales)
    if not _same(on_grid(FLOAT8[codes], scales), values):
        return []
    return _coded(entry.model_copy(update={"encoding": "float8"}), codes, codes != 0, extra)


def _palette(values: Array, palette: Array, entry: Entry, extra: Parts) -> list[tuple[Entry, Parts]]:
    """The ways of a palette that give back the values bit for bit: with a mask, zeros need not be in it."""
    if not values.size or palette.shape[-1:] > (2**MAX_BITS,) or not fits(palette.shape[:-1], values.shape):
        return []
    codes, found = palette_codes(values, palette)
    mask = _bits(values) != 0
    coded = entry.model_copy(update={"encoding": "palette", "bits": bits_of(palette)})
    ways = _coded(coded, codes, mask, extra)
    return [way for way in ways if _same(found[mask], values[mask]) and (way[0].sparse or _same(found, values))]


def _coded(entry: Entry, codes: NDArray[np.int64], mask: NDArray[np.bool_], more: Parts) -> list[tuple[Entry, Parts]]:
    """Codes of all values, and codes of those that are not zero."""
    return [
        (entry, {"codes": _pack(codes.ravel(), entry.bits), **more}),
        (
            entry.model_copy(update={"sparse": True}),
            {"mask": np.packbits(mask), "codes": _pack(codes[mask], entry.bits), **more},
        ),
    ]


def _narrowed(scale: Array) -> Array:
    """The scales in float16 if that gives them back."""
    if scale.dtype not in (np.float32, np.float64):
        return scale
    with np.errstate(over="ignore"):
        narrow = scale.astype(np.float16)
    return narrow if _same(narrow.astype(scale.dtype), scale) else scale


def _same(ours: Array, theirs: Array) -> bool:
    return np.array_equal(_bits(ours), _bits(theirs))


def _steps(values: Array, scale: Array) -> NDArray[np.int64] | None:
    """How many times the scale each value is, if all are whole multiples of it."""
    if not values.size or not fits(scale.shape, values.shape):
        return None
    scales = spread(scale, values.shape)
    with np.errstate(all="ignore"):
        quotients = np.rint(values / scales)
    if not np.all(np.abs(quotients) < 2**15):
        return None
    steps = quotients.astype(np.int64)
    return steps if _same(on_grid(steps, scales), values) else None


def _width(codes: NDArray[np.int64]) -> int:
    return max(1, int(codes.max()).bit_length())


def on_grid(steps: Array, scale: Array) -> Array:
    """The values that so many steps of a grid stand for, numbers of at most 24 bits, in the type of its scale."""
    # A product of float32 rounds once; of float16 it is exact in float64, which then rounds once.
    product = np.float32 if scale.dtype == np.float32 else np.float64
    return np.multiply(steps, scale, dtype=product).astype(scale.dtype, copy=False)


def scale_in(scale: Array, dtype: Type) -> Array:
    """A scale as it lies in the file, in its tensor's type.

    Raises:
        ValueError: If it lies there in another type than it may.
    """
    wanted = numpy_type(dtype)
    if scale.dtype != wanted and (scale.dtype != np.float16 or dtype not in CODED_TYPES):
        raise ValueError(f"a scale of {wanted} is expected, found {scale.dtype}")
    return scale.astype(wanted, copy=False)


def _decode_codes(entry: Entry, parts: Mapping[str, Array]) -> Array:
    scale, offsets = scale_in(parts["scale"], entry.dtype), parts["offsets"]
    if offsets.dtype not in (np.int8, np.int16):
        raise ValueError(f"offsets of int8 or int16 are expected, found {offsets.dtype}")
    codes, mask = _unpacked(entry, parts)
    steps = codes + spread(offsets, entry.shape) * mask
    return on_grid(steps, spread(scale, entry.shape))


def _decode_float8(entry: Entry, parts: Mapping[str, Array]) -> Array:
    codes, _ = _unpacked(entry, parts)
    return on_grid(FLOAT8[codes], spread(scale_in(parts["scale"], entry.dtype), entry.shape))


def _decode_palette(entry: Entry, parts: Mapping[str, Array]) -> Array:
    palette = parts["palette"]
    if palette.dtype != numpy_type(entry.dtype) or palette.ndim != len(entry.shape) + 1 or not palette.size:
        raise ValueError(f"a palette of {entry.dtype} is expected, found {palette.dtype} of shape {palette.shape}")
    codes, mask = _unpacked(entry, parts)
    if codes.max(initial=0) >= palette.shape[-1]:
        raise ValueError(f"codes below {palette.shape[-1]} are expected, found {codes.max()}")
    blocks = np.arange(palette[..., 0].size).reshape(palette.shape[:-1])
    found = palette.reshape(blocks.size, -1)[spread(blocks, entry.shape), codes]
    return np.where(mask, found, palette.dtype.type(0))


def _unpacked(entry: Entry, parts: Mapping[str, Array]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The codes, 0 where there is none, and where there is one."""
    if not entry.sparse:
        codes = unpack(parts["codes"], entry.bits, math.prod(entry.shape)).reshape(entry.shape)
        return codes.astype(np.int64), np.ones((), bool)
    mask = _mask(entry.shape, parts)
    whole = np.zeros(entry.shape, np.int64)
    whole[mask] = unpack(parts["codes"], entry.bits, int(np.count_nonzero(mask)))
    return whole, mask


_DECODERS: Final = {"codes": _decode_codes, "float8": _decode_float8, "palette": _decode_palette}


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
