"""Models on disk: saved by content, loaded bit for bit, no code in the file.

A file is written beside, synced and renamed to the SHA-256 of its bytes: it is there whole or not at all, and equal
models share one file. What the architecture does not tell (pruned shapes, quantized tensors, tied weights, the scales
of simulated quantization, layers that were replaced or taken out) stands in the file's own header, so that `load_model`
starts from the base model as built.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from cc_ray.errors import StoreError, StoreUnavailableError
from cc_ray.noise import silence
from cc_ray.store.encoding import (
    Entry,
    Form,
    Parts,
    Type,
    encode,
    encode_int8,
    size_bytes,
)
from cc_ray.store.exported import PROGRAMS, Exported, exported_as, mark_exported
from cc_ray.store.grid import Array
from cc_ray.store.layout import Layout, sync_folder
from cc_ray.store.low_bit import DynamicFloat8, GroupedInt4, LowBit, StaticInt8
from cc_ray.store.patience import patiently
from cc_ray.store.structure import changes_of, fit, replay
from cc_ray.store.weights import (
    METADATA_KEY,
    PROGRAM,
    ArtifactFile,
    ExportKind,
    Header,
    PlainFile,
    TensorFile,
    verify,
)

SCALE_SUFFIX: Final = "_quantization_scale"
"""A buffer `weight_quantization_scale` beside `weight` holds the grid that the weight's values lie on."""
PALETTE_SUFFIX: Final = "_quantization_palette"
"""A buffer `weight_quantization_palette` beside `weight` holds the values that the weight takes."""
GRID_SUFFIXES: Final = (SCALE_SUFFIX, PALETTE_SUFFIX)

_TYPES: Final[dict[torch.dtype, Type]] = {
    torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: "float32", torch.float64: "float64",
    torch.bool: "bool", torch.uint8: "uint8", torch.int8: "int8", torch.int16: "int16", torch.int32: "int32",
    torch.int64: "int64",
}  # fmt: skip

_FORMS: Final[dict[type[LowBit], Form]] = {
    StaticInt8: "static_int8", GroupedInt4: "grouped_int4", DynamicFloat8: "dynamic_float8",
}  # fmt: skip


@dataclass(frozen=True)
class Artifact:
    """A saved model."""

    digest: str
    """SHA-256 of the file; names it."""
    size_bytes: int
    """Length of the file."""
    tensor_bytes: dict[str, int]
    """Bytes of each tensor by its name in the model, masks and scales included; all but the header's."""


def save_model(layout: Layout, model: nn.Module) -> Artifact:
    """Save a model's parameters and buffers, each tensor in its smallest exact encoding.

    Equal models give equal bytes and therefore one file.

    Raises:
        StoreError: If a tensor is of a kind that the file cannot hold.
        StoreUnavailableError: If the store stays away, or the disk or the object store refuses.
    """
    header, tensors = _encoded(model)
    flat = {
        f"{name}#{part}" if part else name: array for name, parts in tensors.items() for part, array in parts.items()
    }
    metadata = {METADATA_KEY: header.model_dump_json(exclude_defaults=True)}
    try:
        digest, size = patiently(layout, partial(_write, layout, flat, metadata))
    except OSError as error:
        raise StoreUnavailableError(
            f"cannot save a model below {layout.root}: {error}. Nothing was saved. Mend that and run the same command "
            "again: it goes on from there."
        ) from error
    return Artifact(digest, size, {name: size_bytes(parts) for name, parts in tensors.items()})


def move_model(digest: str, source: Layout, target: Layout) -> None:
    """Move a saved model from one folder to another on the same file system; a whole one there stays.

    Raises:
        StoreUnavailableError: If the store stays away, or the disk or the object store refuses.
    """
    patiently(target, partial(_name, source.artifact(digest), digest, target))


def load_model(layout: Layout, digest: str, model: nn.Module) -> nn.Module:
    """Give a freshly built base model the weights, shapes and quantized tensors of a saved one.

    Args:
        layout: Paths of the store.
        digest: The artifact's digest.
        model: The base model's architecture; changed in place.

    Returns:
        The same model, or the program that it was exported to; its outputs equal those of the saved one bit for bit.

    Raises:
        StoreError: If the file is missing, damaged or was saved from another architecture, or is a program that may
            hold code where the environment does not allow that.
    """
    file = ArtifactFile(layout, digest)
    kind = file.header.exported
    if kind is None:
        return _filled(file, model)
    if kind in PROGRAMS and (refusal := PROGRAMS[kind].refusal()):
        raise StoreError(f"the model file {file.path} is not run: {refusal}")
    return opened(kind, file.exported(), model, file.path)


def opened(kind: ExportKind, content: bytes, model: nn.Module, path: Path) -> nn.Module:
    """What answers by an exported file; nobody is asked whether it may run.

    Args:
        kind: Of the file.
        content: Its bytes.
        model: The base model's architecture, for a file that holds tensors alone; changed in place.
        path: What errors call the file.

    Returns:
        In evaluation mode: a program, or the model, which carries that it was exported.

    Raises:
        StoreError: If tensors are damaged or do not fit; a program says so when it is run.
    """
    if kind in PROGRAMS:
        return PROGRAMS[kind](content).eval()
    return mark_exported(_filled(PlainFile(path, content), model), kind)


def plain_file(model: nn.Module) -> bytes:
    """A safetensors file for any program that knows the model's code: every tensor in floats at full length.

    Its metadata says how the architecture differs from the base model as built. Equal models give equal bytes.
    """
    owned, tied = _owned(model)
    tensors = {
        name: (tensor.dequantize() if is_quantized(tensor) else tensor).detach().contiguous()
        for name, tensor in owned.items()
    }
    changes = changes_of(model)
    header = Header(format=2 if changes else 1, tied=tied, groups=_groups(model), changes=changes)
    told = {"format": "pt", METADATA_KEY: header.model_dump_json(exclude_defaults=True)}
    return _in_order(save(tensors, told))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata in order of name, which the library leaves to chance."""
    length = int.from_bytes(content[:8], "little")
    told = json.loads(content[8 : 8 + length])
    told["__metadata__"] = dict(sorted(told["__metadata__"].items()))
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _filled(file: TensorFile, model: nn.Module) -> nn.Module:
    """The model with what a file says of its architecture, and the tensors in it."""
    try:
        replay(model, file.header.changes)
    except ValueError as error:
        raise _misfit(file, model, str(error)) from error
    owners = {name: name for name in file.entries} | file.header.tied
    _check_fit(file, owners, model)
    slots = model.state_dict(keep_vars=True)
    tensors = {name: _load(file, name, like=slots[name]) for name in file.entries}
    for name, owner in owners.items():
        _put(model, name, tensors[owner])
        if name == owner:
            _put_grid(model, name, file)
    for path, module in model.named_modules():
        if isinstance(module, _ConvNd):
            module.groups = file.header.groups.get(path, 1)
        fit(module)
    return model


def scale_of(module: nn.Module, tensor: str = "weight") -> Tensor | None:
    """The step of the grid that simulated quantization put a tensor's values on; for blocks of it (see `grid.py`)."""
    return module._buffers.get(tensor + SCALE_SUFFIX)


def set_scale(module: nn.Module, scale: Tensor | None, tensor: str = "weight") -> None:
    """Say, or with None unsay, that a tensor's values are whole multiples of a scale, or 8-bit floats times it."""
    _set_grid(module, tensor, SCALE_SUFFIX, scale)


def palette_of(module: nn.Module, tensor: str = "weight") -> Tensor | None:
    """The values, rising along the last axis, that a tensor takes in each block (see `grid.py`)."""
    return module._buffers.get(tensor + PALETTE_SUFFIX)


def set_palette(module: nn.Module, palette: Tensor | None, tensor: str = "weight") -> None:
    """Say, or with None unsay, that a tensor takes the values of a palette."""
    _set_grid(module, tensor, PALETTE_SUFFIX, palette)


def copy_grid(module: nn.Module, donor: nn.Module, tensor: str = "weight") -> None:
    """Say of a module's tensor what is said of another's, where it comes from."""
    for suffix in GRID_SUFFIXES:
        grid = donor._buffers.get(tensor + suffix)
        _set_grid(module, tensor, suffix, None if grid is None else grid.clone())


def _set_grid(module: nn.Module, tensor: str, suffix: str, grid: Tensor | None) -> None:
    """Register or remove one of the buffers; a tensor has one of them at most."""
    for known in GRID_SUFFIXES if grid is not None else (suffix,):
        module._buffers.pop(tensor + known, None)
    if grid is not None:
        module.register_buffer(tensor + suffix, grid)


def is_quantized(tensor: Tensor) -> bool:
    """Whether the tensor holds its values in low bits and computes with them: not a plain float tensor."""
    return is_int8(tensor) or isinstance(tensor, LowBit)


def is_int8(tensor: Tensor) -> bool:
    """Whether torchao holds the tensor as int8 with scales."""
    return type(tensor).__name__ == "Int8Tensor"


def _encoded(model: nn.Module) -> tuple[Header, dict[str, Parts]]:
    if kind := exported_as(model):
        content = model.file if isinstance(model, Exported) else plain_file(model)
        header = Header(format=2 if kind == "onnx" else 4, exported=kind)
        return header, {PROGRAM: {"": np.frombuffer(content, np.uint8)}}
    state = model.state_dict(keep_vars=True)
    owned, tied = _owned(model)
    entries, tensors = {}, {}
    for name, tensor in owned.items():
        entries[name], tensors[name] = _encode(name, tensor, *(state.get(name + suffix) for suffix in GRID_SUFFIXES))
    told = {name: entry for name, entry in entries.items() if not _is_plain(entry)}
    changes = changes_of(model)
    oldest = max([2 if changes else 1, *(entry.format for entry in told.values())])
    return Header(format=oldest, entries=told, tied=tied, groups=_groups(model), changes=changes), tensors


def _owned(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a model by name, and the names of those that are the same tensor as one of them."""
    state = model.state_dict(keep_vars=True)
    owned, tied = dict[str, Tensor](), dict[str, str]()
    owners: dict[int, str] = {}
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise StoreError(f"'{name}' is a {type(tensor).__name__}: a model file holds tensors only.")
        if is_grid(name, state):
            continue
        if owners.setdefault(id(tensor), name) != name:
            tied[name] = owners[id(tensor)]
        else:
            owned[name] = tensor
    return owned, tied


def is_grid(name: str, names: Collection[str]) -> bool:
    """Whether a tensor of this name is no part of the model, but says what values another takes."""
    return any(name.endswith(suffix) and name.removesuffix(suffix) in names for suffix in GRID_SUFFIXES)


def _is_plain(entry: Entry) -> bool:
    """Whether the file's own list of tensors says all there is to say."""
    return entry.encoding == "dense" and not (entry.scaled or entry.palette) and entry.dtype != "bfloat16"


def _encode(name: str, tensor: Tensor, scale: Tensor | None, palette: Tensor | None) -> tuple[Entry, Parts]:
    if is_int8(tensor):
        return _encode_int8(name, tensor)
    if isinstance(tensor, LowBit):
        return _encode_low_bit(tensor)
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.dtype not in _TYPES or "#" in name:
        raise StoreError(f"'{name}' is a {type(tensor).__name__} of {tensor.dtype}, which a model file cannot hold.")
    for what, grid in (("scale", scale), ("palette", palette)):
        if grid is not None and grid.dtype != tensor.dtype:
            raise StoreError(f"'{name}' is of {tensor.dtype} and its {what} of {grid.dtype}: one type is expected.")
    grids = [None if grid is None else _array(grid) for grid in (scale, palette)]
    return encode(_array(tensor), _TYPES[tensor.dtype], *grids)


def _encode_low_bit(tensor: LowBit) -> tuple[Entry, Parts]:
    entry, parts = encode(_array(tensor.dequantize()), "float32", _array(tensor.scale))
    taken = {"input": _array(tensor.input)} if isinstance(tensor, StaticInt8) else {}
    return entry.model_copy(update={"form": _FORMS[type(tensor)]}), parts | taken


def _encode_int8(name: str, tensor: Any) -> tuple[Entry, Parts]:
    dynamic = tensor.act_quant_kwargs is not None
    others = (tensor.act_quant_scale, tensor.act_quant_zero_point, tensor.act_pre_scale)
    by_row = list(tensor.block_size) == [1, tensor.shape[-1]]
    if (
        any(other is not None for other in others)
        or not by_row
        or tensor.zero_point is None
        or tensor.scale.dtype != torch.float32
    ):
        raise StoreError(f"'{name}' is quantized in a way that a model file cannot hold: int8 by rows is expected.")
    if dynamic and tensor.act_quant_kwargs != _row_activations():
        raise StoreError(f"'{name}' quantizes activations by {tensor.act_quant_kwargs}: symmetric rows are expected.")
    parts = [_array(part) for part in (tensor.qdata, tensor.scale, tensor.zero_point)]
    return encode_int8(*parts, dtype=_TYPES[tensor.dtype], dynamic=dynamic)


def _row_activations() -> Any:
    from torchao.quantization.granularity import PerRow
    from torchao.quantization.quantize_.workflows.int8.int8_tensor import QuantizeTensorToInt8Kwargs

    return QuantizeTensorToInt8Kwargs(granularity=PerRow())


def _array(tensor: Tensor) -> Array:
    plain = tensor.detach().cpu().contiguous()
    return (plain.view(torch.uint16) if plain.dtype == torch.bfloat16 else plain).numpy()


def _tensor(array: Array, dtype: Type | None = None) -> Tensor:
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor


def _groups(model: nn.Module) -> dict[str, int]:
    return {path: m.groups for path, m in model.named_modules() if isinstance(m, _ConvNd) and m.groups > 1}


def _write(layout: Layout, tensors: Mapping[str, Array], metadata: dict[str, str]) -> tuple[str, int]:
    """Write a model's file; returns its digest and its length in bytes."""
    layout.check_there()
    growing = layout.partial / f"{uuid.uuid4().hex}.safetensors"
    try:
        layout.make(growing.parent)
        save_file(dict(tensors), growing, metadata)
        size = growing.stat().st_size
        return _publish(growing, layout), size
    except SafetensorError as error:
        # How the library passes on what the disk says.
        raise OSError(str(error)) from error
    finally:
        with suppress(OSError):
            growing.unlink()


def _publish(growing: Path, layout: Layout) -> str:
    """Give a finished file the name of its content; of several equal ones the first stays."""
    with growing.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    _name(growing, digest, layout)
    return digest


def _name(finished: Path, digest: str, layout: Layout) -> None:
    target = layout.artifact(digest)
    layout.make(target.parent)
    if not _is_whole(target):
        layout.check_there()
        layout.share(finished, digest)
        os.replace(finished, target)
        sync_folder(target.parent)


def _is_whole(target: Path) -> bool:
    """Whether the file is there and undamaged; a damaged one is replaced by its next writer."""
    try:
        verify(target)
    except OSError:
        return False
    return True


def _check_fit(file: TensorFile, owners: dict[str, str], model: nn.Module) -> None:
    """Tensors and grouped convolutions must be those of the architecture; lengths of axes may differ."""
    slots = model.state_dict(keep_vars=True)
    convolutions = {path for path, module in model.named_modules() if isinstance(module, _ConvNd)}
    wrong = set(slots) ^ set(owners) | set(file.header.groups) - convolutions | set(owners.values()) - set(file.entries)
    wrong |= set(file.header.tied) & set(file.entries)
    wrong |= {name for name in file.entries if name in slots and len(file.entries[name].shape) != slots[name].dim()}
    if wrong:
        raise _misfit(file, model, f"it differs in {', '.join(sorted(wrong)[:5])}")


def _misfit(file: TensorFile, model: nn.Module, reason: str) -> StoreError:
    return StoreError(
        f"the model file {file.path} does not fit the architecture of {len(model.state_dict(keep_vars=True))} tensors: "
        f"{reason}. Load it into the base model that it was made from."
    )


def _load(file: TensorFile, name: str, *, like: Tensor) -> Tensor:
    entry = file.entries[name]
    tensor = _load_int8(file, name) if entry.encoding == "int8" else _tensor(file.values(name), entry.dtype)
    if entry.form:
        tensor = _load_low_bit(file, name, tensor)
    if not isinstance(like, nn.Parameter):
        return tensor
    return nn.Parameter(tensor, requires_grad=like.requires_grad and not is_quantized(tensor))


def _load_low_bit(file: TensorFile, name: str, values: Tensor) -> Tensor:
    entry = file.entries[name]
    try:
        if entry.dtype != "float32" or not entry.scaled or entry.encoding == "int8":
            raise ValueError("float32 on a grid is expected")
        scale = _tensor(file.scale(name))
        if not (scale.isfinite() & (scale > 0)).all():
            raise ValueError("a scale is no positive number")
        if entry.form == "static_int8":
            return _static(values, scale, file.parts(name)["input"])
        return (GroupedInt4 if entry.form == "grouped_int4" else DynamicFloat8).of(values, scale)
    except ValueError as error:
        raise StoreError(
            f"the model file {file.path} is damaged: '{name}' is no {entry.form} weight: {error}."
        ) from None


def _static(values: Tensor, scale: Tensor, given: Array) -> StaticInt8:
    if scale.shape != (len(values), *[1] * (values.dim() - 1)):
        raise ValueError("a scale for each output channel is expected")
    if given.shape != (2,) or given.dtype != np.float32 or not 0 < given[0] < np.inf:
        raise ValueError("what it says of its inputs is no scale and zero point")
    return StaticInt8.of(values, scale, _tensor(given))


def _load_int8(file: TensorFile, name: str) -> Tensor:
    silence()
    from torchao.quantization import Int8Tensor

    entry, parts = file.entries[name], file.parts(name)
    tensor: Tensor = Int8Tensor(
        _tensor(file.values(name)),
        _tensor(parts["scale"]),
        [1, entry.shape[-1]],
        getattr(torch, entry.dtype),
        zero_point=_tensor(parts["zero_point"]),
        act_quant_kwargs=_row_activations() if entry.dynamic else None,
    )
    return tensor


def _place(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, attribute = name.rpartition(".")
    return model.get_submodule(path), attribute


def _put(model: nn.Module, name: str, tensor: Tensor) -> None:
    module, attribute = _place(model, name)
    setattr(module, attribute, tensor)


def _put_grid(model: nn.Module, name: str, file: TensorFile) -> None:
    module, attribute = _place(model, name)
    entry = file.entries[name]
    if entry.scaled and entry.encoding != "int8" and not entry.form:
        set_scale(module, _tensor(file.scale(name), entry.dtype), attribute)
    if entry.palette:
        set_palette(module, _tensor(file.parts(name)["palette"], entry.dtype), attribute)
