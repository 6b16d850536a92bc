"""Model files as numpy reads them: the real values of any two models are compared without torch.

A model file is safetensors: no code can be in it. Its metadata holds one JSON text, the `Header`, under `cc_ray`.
The file's name is the SHA-256 of its bytes and is verified before anything in it is believed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import safetensors
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError
from safetensors import SafetensorError, safe_open

from cc_ray.errors import StoreError
from cc_ray.store.encoding import FLOAT_TYPES, Entry, Parts, decode, real_values, scale_in, size_bytes
from cc_ray.store.grid import Array
from cc_ray.store.layout import Layout
from cc_ray.store.patience import patiently

FORMAT: Final = 4
"""Version of the model file's format: a program reads its own and older ones. A file says the oldest version that has
all that is in it, so that older programs read what they can."""
METADATA_KEY: Final = "cc_ray"
PROGRAM: Final = "program"
"""Name of the tensor that holds the file that a model was exported to."""

ExportKind = Literal["onnx", "torch_export", "executorch", "safetensors"]
"""Kinds of files for the world outside; see `store.exported`."""


class Change(BaseModel):
    """One way in which an architecture differs from the base model as built; `store.structure` carries it out."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: str
    path: str
    """Of the module that is changed, in the model as the changes before left it."""
    numbers: dict[str, int] = {}


class Header(BaseModel):
    """What a model file says beyond its plain tensors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int
    entries: dict[str, Entry] = {}
    """Tensors that are not simply dense, by name."""
    tied: dict[str, str] = {}
    """Names of tensors that are the same tensor as another, which alone is stored."""
    groups: dict[str, PositiveInt] = {}
    """Groups of the grouped convolutions by module path; shapes do not tell them."""
    changes: tuple[Change, ...] = ()
    """How the architecture differs from the base model as built, in order."""
    exported: ExportKind | None = None
    """The file holds a file of this kind, which answers in place of the architecture; see `store.exported`."""


class _Version(BaseModel):
    """The one part of a header that every program can read."""

    format: int


@dataclass(frozen=True)
class Weight:
    """One tensor of a saved model."""

    values: NDArray[np.float32]
    """Real values: dequantized, zeros filled in; in the tensor's shape."""
    dtype: str
    """Type of the stored values, such as `float32`, `int8` or `uint4`."""
    stored_bytes: int
    """Bytes on disk, masks and scales included."""


class TensorFile:
    """Tensors with a header that tells of them.

    Args:
        path: What errors call the file.
        opened: Opens it, with what `safe_open` gives.

    Raises:
        StoreError: If it is missing, damaged, or written by a newer program.
    """

    def __init__(self, path: Path, opened: Callable[[], Any]) -> None:
        self.path = path
        try:
            self._file = opened()
            self._keys = frozenset(self._file.keys())
            self.header = self._header((self._file.metadata() or {}).get(METADATA_KEY, ""))
        except FileNotFoundError:
            raise StoreError(f"there is no model file {self.path}: it was never saved here, or removed.") from None
        except (OSError, SafetensorError, ValidationError) as error:
            raise self._damaged(str(error)) from error
        self.entries = self._all_entries()

    def exported(self) -> bytes:
        """The file that the model was exported to.

        Raises:
            StoreError: If it is not the only thing in here.
        """
        if set(self.entries) != {PROGRAM} or self.entries[PROGRAM].dtype != "uint8":
            raise self._damaged("an exported model is one program, and nothing else")
        return self.values(PROGRAM).tobytes()

    def parts(self, name: str) -> Parts:
        """The arrays that one tensor lies in.

        Raises:
            StoreError: If one cannot be read.
        """
        try:
            return {part: self._file.get_tensor(_key(name, part)) for part in self.entries[name].keys}
        except (SafetensorError, ValueError, TypeError) as error:
            raise self._damaged(f"tensor '{name}': {error}") from error

    def values(self, name: str) -> Array:
        """One tensor as `encoding.decode` gives it.

        Raises:
            StoreError: If its parts cannot be read or do not fit together.
        """
        return self._decoded(name, decode, self.parts(name))

    def scale(self, name: str) -> Array:
        """The scale of a tensor that has one, in the tensor's type; bfloat16 as uint16 patterns.

        Raises:
            StoreError: If it cannot be read.
        """
        parts = self.parts(name)
        return self._decoded(name, lambda entry, parts: scale_in(parts["scale"], entry.dtype), parts)

    def weight(self, name: str) -> Weight:
        """One tensor's real values.

        Raises:
            StoreError: If its parts cannot be read or do not fit together.
        """
        parts = self.parts(name)
        values = self._decoded(name, real_values, parts)
        return Weight(values, self.entries[name].stored_type, size_bytes(parts))

    def _decoded(self, name: str, decoder: Callable[[Entry, Parts], Array], parts: Parts) -> Array:
        try:
            return decoder(self.entries[name], parts)
        except KeyError as error:
            raise self._damaged(f"tensor '{name}' has no {error}") from error
        except (ValueError, TypeError, IndexError) as error:
            raise self._damaged(f"tensor '{name}': {error}") from error

    def _header(self, text: str) -> Header:
        version = _Version.model_validate_json(text).format
        if version > FORMAT:
            raise StoreError(
                f"the model file {self.path} has format {version}; this program reads up to {FORMAT}. Upgrade cc-ray."
            )
        return Header.model_validate_json(text)

    def _all_entries(self) -> dict[str, Entry]:
        told = self.header.entries
        plain = {key: self._dense(key) for key in sorted(self._keys) if "#" not in key and key not in told}
        entries = {**plain, **told}
        wanted = Counter(_key(name, part) for name, entry in entries.items() for part in entry.keys)
        if wanted != Counter(self._keys):
            raise self._damaged("its header does not account for the tensors in it")
        return entries

    def _dense(self, key: str) -> Entry:
        part = self._file.get_slice(key)
        dtype = _TYPES.get(part.get_dtype(), part.get_dtype())
        try:
            return Entry(encoding="dense", dtype=dtype, shape=tuple(part.get_shape()))
        except ValidationError as error:
            raise self._damaged(f"tensor '{key}' has type {dtype}") from error

    def _damaged(self, reason: str) -> StoreError:
        return StoreError(
            f"the model file {self.path} is damaged: {' '.join(reason.split())}. Remove it and run its recipe again."
        )


class ArtifactFile(TensorFile):
    """An opened model file whose bytes are those that its name promises.

    Args:
        layout: Paths of the store.
        digest: SHA-256 of the file.
    """

    def __init__(self, layout: Layout, digest: str) -> None:
        path = layout.fetched(digest)
        super().__init__(path, lambda: patiently(layout, partial(_verified, path)))


class PlainFile(TensorFile):
    """A model as safetensors that any program can read: every tensor at full length.

    Args:
        path: What errors call it.
        content: Its bytes.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(path, lambda: _InMemory(content))


def read_weights(layout: Layout, digest: str) -> Mapping[str, Weight]:
    """The float tensors of a saved model by name, each read when it is asked for.

    Tied tensors are there once, under the name that owns them.

    Raises:
        StoreError: If the file is missing, damaged, or written by a newer program; also while a tensor is read.
    """
    return _Weights(open_weights(layout, digest))


def open_weights(layout: Layout, digest: str) -> TensorFile:
    """What holds the tensors of a saved model: its file, or the plain file in it.

    Raises:
        StoreError: If the file is missing, damaged, or written by a newer program.
    """
    file = ArtifactFile(layout, digest)
    return PlainFile(file.path, file.exported()) if file.header.exported == "safetensors" else file


class _Weights(Mapping[str, Weight]):
    def __init__(self, file: TensorFile) -> None:
        self._file = file
        self._names = dict.fromkeys(n for n, entry in sorted(file.entries.items()) if entry.dtype in FLOAT_TYPES)

    def __getitem__(self, name: str) -> Weight:
        if name not in self._names:
            raise KeyError(name)
        return self._file.weight(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


_parts_of: Final[Callable[[bytes], Any]] = safetensors.deserialize
"""Whose own annotations say nothing."""


class _InMemory:
    """Reads safetensors from memory as `safe_open` does from a file; bfloat16, which numpy lacks, as its bits."""

    def __init__(self, content: bytes) -> None:
        self._held: dict[str, Any] = dict(_parts_of(content))
        # Whoever gets here has a sound header: its length, and JSON of which the metadata are texts by name.
        length = int.from_bytes(content[:8], "little")
        self._told: dict[str, str] | None = json.loads(content[8 : 8 + length]).get("__metadata__")

    def keys(self) -> Collection[str]:
        return self._held.keys()

    def metadata(self) -> dict[str, str] | None:
        return self._told

    def get_slice(self, key: str) -> Any:
        return _Shape(**{name: self._held[key][name] for name in ("dtype", "shape")})

    def get_tensor(self, key: str) -> Array:
        held = self._held[key]
        dtype = "uint16" if held["dtype"] == "BF16" else _TYPES[held["dtype"]]
        return np.frombuffer(held["data"], dtype).reshape(held["shape"])


@dataclass(frozen=True)
class _Shape:
    dtype: str
    shape: list[int]

    def get_dtype(self) -> str:
        return self.dtype

    def get_shape(self) -> list[int]:
        return self.shape


_TYPES: Final = {
    "BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64", "BOOL": "bool", "U8": "uint8",
    "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
}  # fmt: skip


def _verified(path: Path) -> Any:
    verify(path)
    return safe_open(path, framework="numpy")


def _key(name: str, part: str) -> str:
    return f"{name}#{part}" if part else name


def verify(path: Path) -> None:
    """Compare a model file's bytes with the digest in its name.

    Raises:
        OSError: If it is missing, cannot be read, or is damaged.
    """
    state = path.stat()
    found = _digest(path, state.st_size, state.st_mtime_ns)
    if found != path.stem:
        raise OSError(f"its bytes have the digest {found[:12]}..., not the one in its name")


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, modified_ns: int) -> str:
    """SHA-256 of a file; size and time of change make the cached answer the file's own."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
