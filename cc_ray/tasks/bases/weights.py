"""State dicts of files, which are data: no file is executed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.sources import located

State = dict[str, Tensor]

_COUNTS: Final = "num_batches_tracked"
"""Batch norm counts its batches since torch 0.4.1; older files lack the counts, which nothing depends on."""


def read_state(address: str, key: str | None = None, prefix: str = "") -> State:
    """Read a state dict on the CPU.

    Args:
        address: One file, as `tasks.sources` has it: safetensors, or what `torch.save` wrote.
        key: Where in the file it lies; names within each other are joined by `.`.
        prefix: Taken off the beginning of all names.

    Raises:
        InvalidRecipeError: If the file cannot be read, holds more than tensors, or nothing under the key.
    """
    paths = located(address).paths
    if len(paths) > 1:
        raise InvalidRecipeError(f"weights '{address}' are {len(paths)} files; give one.")
    held = _read(paths[0])
    for part in key.split(".") if key else ():
        if not isinstance(held, Mapping) or part not in held:
            there = ", ".join(map(str, held)) if isinstance(held, Mapping) else type(held).__name__
            raise InvalidRecipeError(f"weights '{address}' have nothing under '{key}'; there is: {there[:300]}.")
        held = held[part]
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        there = ", ".join(map(str, held)) if isinstance(held, Mapping) else type(held).__name__
        raise InvalidRecipeError(
            f"weights '{address}' are no state dict{f' under {key!r}' if key else ''}: they hold {there[:300]}. Say "
            "where it lies with `key`."
        )
    return {str(name).removeprefix(prefix): value for name, value in held.items()}


def give(model: nn.Module, state: State, address: str) -> nn.Module:
    """Give a model all weights of a state dict, which has those of the model and no others.

    Raises:
        InvalidRecipeError: If names or shapes differ.
    """
    own = model.state_dict()
    problems = [
        *(f"lacks {name}" for name in own if name not in state and not name.endswith(_COUNTS)),
        *(f"has {name}, which the model has not" for name in state if name not in own),
        *(
            f"has {name} of shape {tuple(value.shape)}, the model of {tuple(own[name].shape)}"
            for name, value in state.items()
            if name in own and own[name].shape != value.shape
        ),
    ]
    if problems:
        rest = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InvalidRecipeError(
            f"weights '{address}' do not fit the model: the file {'; '.join(problems[:3])}{rest}. Check `prefix`, "
            "`key` and the arguments of the factory."
        )
    model.load_state_dict(state)
    return model


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        said = " ".join(str(error).split())[:300]
        raise InvalidRecipeError(f"weights '{path}' cannot be read as tensors alone: {said}") from error
