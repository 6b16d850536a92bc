"""Weights of a saved model a block at a time: memory holds blocks, however large the tensors are.

Any number of threads may read one file. Values equal those of `weights.read_weights` bit for bit.
"""

from __future__ import annotations

import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cc_ray.compiled import compiled
from cc_ray.errors import StoreError
from cc_ray.store.encoding import FLOAT_TYPES, Entry, on_grid, scale_in, unpack, widened
from cc_ray.store.grid import FLOAT8, Array, fits, run_length, split_axes
from cc_ray.store.layout import Layout
from cc_ray.store.weights import PROGRAM, PlainFile, TensorFile, open_weights, verify

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

BLOCK: Final = 65_536
"""Values that fit a processor's cache with what is computed of them; a whole number of bytes of any bit width."""
THREADS: Final = 2

_COUNTED: Final = BLOCK // 8
"""Bytes of a mask whose ones are counted together."""


@contextmanager
def open_blocks(layout: Layout, digest: str) -> Iterator[BlockFile]:
    """Open a saved model.

    Raises:
        StoreError: If the file is missing, damaged, or written by a newer program.
    """
    file = open_weights(layout, digest)
    handle = os.open(file.path, os.O_RDONLY)
    try:
        yield BlockFile(file, handle)
    finally:
        os.close(handle)


def verify_all(layout: Layout, digests: Iterable[str]) -> None:
    """Fetch and verify model files side by side; what is damaged or missing is told when it is opened."""

    def one(digest: str) -> None:
        with suppress(OSError):
            verify(layout.fetched(digest))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, dict.fromkeys(digests)))


class BlockFile:
    """The float tensors of one saved model."""

    def __init__(self, file: TensorFile, handle: int) -> None:
        self._file = file
        self._handle = handle
        places = _places(handle)
        # A plain file lies in the model file as the one array in it.
        self._places = _places(handle, places[PROGRAM].offset) if isinstance(file, PlainFile) else places

    def __contains__(self, name: str) -> bool:
        return name in self._file.entries and self._file.entries[name].dtype in FLOAT_TYPES

    def tensor(self, name: str) -> StoredTensor:
        """One tensor; nothing of it is read yet.

        Raises:
            StoreError: If its parts do not fit together.
        """
        entry = self._file.entries[name]
        parts = {part: self._part(f"{name}#{part}" if part else name) for part in entry.keys}
        return _KINDS[entry.encoding](entry, parts, self._file.path)

    def _part(self, key: str) -> Elements:
        return self._places[key]


@dataclass(frozen=True)
class Elements:
    """An array that lies in a file."""

    handle: int
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def read(self, start: int, stop: int) -> Array:
        """Values of these positions.

        Raises:
            OSError: If the file ends before them.
        """
        found = np.empty(max(stop - start, 0), self.dtype)
        self.fill(found, start)
        return found

    def fill(self, out: Array, start: int) -> None:
        """Write values into an array of the same type, from this position on.

        Raises:
            OSError: If the file ends before them.
        """
        if not out.size:
            return
        if start + out.size > self.size:
            raise OSError("a part is shorter than it should be")
        if os.preadv(self.handle, [out.data], self.offset + start * self.dtype.itemsize) != out.nbytes:
            raise OSError("it ends early")

    @cached_property
    def all(self) -> Array:
        """The whole array."""
        return self.read(0, self.size).reshape(self.shape)


class StoredTensor(ABC):
    """One tensor of a model file. Positions are those of its values in row-major order."""

    def __init__(self, entry: Entry, parts: dict[str, Elements], path: Path) -> None:
        self.entry = entry
        self.parts = parts
        self.shape = entry.shape
        self.size = math.prod(entry.shape)
        self._path = path

    def fill(self, out: Floats, start: int) -> None:
        """Write real values into `out`, from position `start` on; it is a multiple of 8.

        Raises:
            StoreError: If they cannot be read.
        """
        try:
            self._fill(out, start)
        except (OSError, ValueError, IndexError) as error:
            raise StoreError(
                f"the model file {self._path} cannot be read: {error}. Remove it and run its recipe again."
            ) from error

    def values(self, start: int, stop: int) -> Floats:
        """Real values, (stop - start,); `start` is a multiple of 8.

        Raises:
            StoreError: If they cannot be read.
        """
        found = np.empty(stop - start, np.float32)
        self.fill(found, start)
        return found

    def whole(self) -> Floats:
        """All real values, in the tensor's shape."""
        found = np.empty(self.size, np.float32)
        for start in range(0, self.size, BLOCK):
            self.fill(found[start : start + BLOCK], start)
        return found.reshape(self.shape)

    def mask(self, start: int, stop: int) -> Bytes:
        """Which values are not zero, a bit each, the highest bit of a byte first; unused bits are 0."""
        return np.packbits(self.values(start, stop) != 0)

    @abstractmethod
    def _fill(self, out: Floats, start: int) -> None: ...


class DenseTensor(StoredTensor):
    """All values, one after the other."""

    def _fill(self, out: Floats, start: int) -> None:
        values = self.parts[""]
        if values.dtype == out.dtype:
            values.fill(out, start)
        else:
            out[:] = widened(values.read(start, start + len(out)), self.entry.dtype)


class MaskedTensor(StoredTensor):
    """Values of which those that are not zero may be the only ones there."""

    @cached_property
    def _packed(self) -> Bytes:
        packed: Bytes = self.parts["mask"].all
        if packed.shape != ((self.size + 7) // 8,):
            raise ValueError(f"a mask of {self.size} bits is expected")
        return packed

    @cached_property
    def _before(self) -> NDArray[np.int64]:
        """Ones before each run of `_COUNTED` bytes."""
        starts = np.arange(0, max(len(self._packed), 1), _COUNTED)
        counts = np.add.reduceat(np.bitwise_count(self._packed), starts, dtype=np.int64) if self.size else [0]
        return np.concatenate([[0], np.cumsum(counts)])

    def _rank(self, position: int) -> int:
        """Ones before a position."""
        byte, bits = divmod(position, 8)
        run = byte // _COUNTED
        whole = np.bitwise_count(self._packed[run * _COUNTED : byte]).sum(dtype=np.int64)
        rest = int(self._packed[byte]) >> (8 - bits) if bits else 0
        return int(self._before[run] + whole) + rest.bit_count()

    def _spread(self, out: Array, start: int, fill: Callable[[Array, int], None]) -> None:
        """Write values into `out`, zeros between them; `fill` gives those that are not zero, from a rank on."""
        first, last = self._rank(start), self._rank(start + len(out))
        before = len(out) - (last - first)
        fill(out[before:], first)
        spread(out.view(f"u{out.itemsize}"), self._mask(start, start + len(out)), before)

    def _mask(self, start: int, stop: int) -> Bytes:
        return self._packed[start // 8 : (stop + 7) // 8]


class BitmapTensor(MaskedTensor):
    """Values that are not zero, and a mask of where they lie."""

    def _fill(self, out: Floats, start: int) -> None:
        values = self.parts["values"]
        found = out if values.dtype == out.dtype else np.empty(len(out), values.dtype)
        self._spread(found, start, values.fill)
        if found is not out:
            out[:] = widened(found, self.entry.dtype)

    def mask(self, start: int, stop: int) -> Bytes:
        """As `StoredTensor.mask`; the stored mask, unless it marks a -0.0."""
        packed, first, last = self._mask(start, stop), self._rank(start), self._rank(stop)
        values = self.parts["values"].read(first, last)
        if self.entry.dtype == "bfloat16":
            values = values & np.uint16(0x7FFF)
        return packed if np.count_nonzero(values) == last - first else super().mask(start, stop)


class CodedTensor(MaskedTensor):
    """Values on a grid, as codes."""

    def _fill(self, out: Floats, start: int) -> None:
        codes, mask = self._codes(start, start + len(out))
        offsets = self._of_blocks("offsets", start, start + len(out))
        out[:] = self._scaled(codes + offsets * mask, start)

    def _codes(self, start: int, stop: int) -> tuple[NDArray[np.int16], Bytes]:
        """Codes, 0 where there is none, and where there is one."""
        codes = np.empty(stop - start, np.int16)
        if not self.entry.sparse:
            self._fill_codes(codes, start)
            return codes, np.ones(1, np.uint8)
        self._spread(codes, start, self._fill_codes)
        return codes, np.unpackbits(self._mask(start, stop), count=stop - start)

    def _fill_codes(self, out: NDArray[np.int16], start: int) -> None:
        aligned, stop, bits = start // 8 * 8, start + len(out), self.entry.bits
        packed = self.parts["codes"].read(aligned * bits // 8, (stop * bits + 7) // 8)
        out[:] = unpack(packed, bits, stop - aligned)[start - aligned :]

    def _of_blocks(self, part: str, start: int, stop: int) -> Array:
        return Along(self.parts[part].all, self.shape).read(start, stop)

    def _scaled(self, numbers: Array, start: int) -> Floats:
        scale = scale_in(self._of_blocks("scale", start, start + len(numbers)), self.entry.dtype)
        return widened(on_grid(numbers, scale), self.entry.dtype)


class Float8Tensor(CodedTensor):
    """8-bit floats with a scale."""

    def _fill(self, out: Floats, start: int) -> None:
        codes, _ = self._codes(start, start + len(out))
        out[:] = self._scaled(FLOAT8[codes], start)


class PaletteTensor(CodedTensor):
    """Entries of palettes."""

    def _fill(self, out: Floats, start: int) -> None:
        palette = self.parts["palette"].all
        codes, mask = self._codes(start, start + len(out))
        blocks = np.arange(palette[..., 0].size).reshape(palette.shape[:-1])
        block = Along(blocks, self.shape).read(start, start + len(out))
        found = palette.reshape(blocks.size, -1)[block, codes]
        out[:] = widened(np.where(mask, found, palette.dtype.type(0)), self.entry.dtype)


class Int8Tensor(MaskedTensor):
    """Integers with a scale and a zero point per row."""

    def _fill(self, out: Floats, start: int) -> None:
        stop = start + len(out)
        scale, zero_point = (
            Along(self.parts[name].all, self.shape).read(start, stop) for name in ("scale", "zero_point")
        )
        integers = np.empty(len(out), np.int8)
        if self.entry.sparse:
            self._spread(integers, start, self.parts["values"].fill)
        else:
            self.parts["qdata"].fill(integers, start)
        out[:] = (integers.astype(np.int32) - zero_point.astype(np.int32)) * scale


@dataclass(frozen=True)
class Along:
    """A small array with entries for blocks of a tensor."""

    array: Array
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not fits(self.array.shape, self.shape):
            raise ValueError(f"entries for blocks of {self.shape} are expected, found shape {self.array.shape}")

    def read(self, start: int, stop: int) -> Array:
        """Values at positions of the tensor, (stop - start,) or (1,)."""
        if self.array.size == 1:
            return self.array.ravel()
        axes = [axis for axis, length in enumerate(self.array.shape) if length > 1]
        if len(axes) == 1:
            return self._along(axes[0], start, stop)
        places = list(np.unravel_index(np.arange(start, stop), self.shape))
        for axis in split_axes(self.array.shape, self.shape):
            places[axis] = places[axis] // self._run(axis)
        kept = tuple(place if axis in axes else 0 for axis, place in enumerate(places))
        found: Array = self.array[kept]
        return found

    def _along(self, axis: int, start: int, stop: int) -> Array:
        """As `read`, where the values change along one axis alone: each stands for a run of places."""
        run = math.prod(self.shape[axis + 1 :])
        runs = np.arange(start // run, (stop - 1) // run + 1)
        held: Array = self.array.ravel()[runs % self.shape[axis] // self._run(axis)]
        if run == 1:
            return held
        lengths = np.minimum((runs + 1) * run, stop) - np.maximum(runs * run, start)
        return np.repeat(held, lengths)

    def _run(self, axis: int) -> int:
        return run_length(self.shape[axis], self.array.shape[axis])


@compiled
def spread(values: Array, mask: Bytes, before: int) -> None:
    """Move values from the end of an array to the places that a mask marks; zeros come between them.

    Args:
        values: Unsigned integers, (n,); those from `before` on are moved.
        mask: A bit for each place, the highest bit of a byte first; n - `before` of the n are ones.
        before: First of the values that are moved.
    """
    at, last, size, byte = np.int64(before), np.int64(values.size - 1), values.size, 0
    while at + 8 <= size:
        bits = np.int64(mask[byte])
        for place in range(8):
            here = (bits >> (7 - place)) & 1
            values[8 * byte + place] = values[at] * values.dtype.type(here)
            at += here
        byte += 1
    for place in range(8 * byte, size):
        here = (np.int64(mask[place >> 3]) >> (7 - (place & 7))) & 1
        values[place] = values[min(at, last)] * values.dtype.type(here)
        at += here


def _places(handle: int, start: int = 0) -> dict[str, Elements]:
    """Every array of the safetensors file that begins at a byte, whose bytes were verified."""
    length = int.from_bytes(os.pread(handle, 8, start), "little")
    header = json.loads(os.pread(handle, length, start + 8))
    first = start + 8 + length
    return {
        key: Elements(handle, first + told["data_offsets"][0], np.dtype(_TYPES[told["dtype"]]), tuple(told["shape"]))
        for key, told in header.items()
        if key != "__metadata__"
    }


_KINDS: Final[Mapping[str, Callable[[Entry, dict[str, Elements], Path], StoredTensor]]] = {
    "dense": DenseTensor, "bitmap": BitmapTensor, "codes": CodedTensor, "float8": Float8Tensor,
    "palette": PaletteTensor, "int8": Int8Tensor,
}  # fmt: skip
_TYPES: Final = {
    "F16": "f2", "F32": "f4", "F64": "f8", "BOOL": "?", "U8": "u1", "I8": "i1", "I16": "i2", "I32": "i4", "I64": "i8",
    "BF16": "u2", "U16": "u2", "U32": "u4", "U64": "u8",
}  # fmt: skip
