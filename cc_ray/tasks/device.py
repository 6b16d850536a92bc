"""The device that a step works on: a GPU where it holds one, else the CPU.

Models and data live on the CPU. Where a model trains or answers it is `moved` to the device for as long as that takes:
what is saved, compared or handed on knows of no device, and what only looks at weights needs none.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from itertools import chain
from typing import Final

import torch
from torch import nn

from cc_ray.errors import CcRayError

CPU: Final = torch.device("cpu")

_current: Final[ContextVar[torch.device]] = ContextVar("device", default=CPU)
_used: Final[ContextVar[set[str] | None]] = ContextVar("devices_used", default=None)


@contextmanager
def holding(gpus: float) -> Iterator[None]:
    """Let models work on a GPU while the block runs, if one is held; all settings are as before afterwards.

    Args:
        gpus: How many are held. Of a fraction the process takes no larger share of the memory, not counting what the
            driver itself needs (some hundred megabytes); of several the first is used.

    Raises:
        CcRayError: If one is held where torch sees none, or its memory runs out.
    """
    if not gpus:
        yield
        return
    _check_there(gpus)
    torch.cuda.set_per_process_memory_fraction(float(min(gpus, 1)))
    token = _current.set(torch.device("cuda", torch.cuda.current_device()))
    try:
        with torch.random.fork_rng(devices=[torch.cuda.current_device()]):
            yield
    except BaseException as error:
        # Its frames hold tensors for as long as anybody holds the error.
        traceback.clear_frames(error.__traceback__)
        if isinstance(error, torch.OutOfMemoryError):
            raise CcRayError(_out_of_memory(gpus, error)) from error
        raise
    finally:
        _current.reset(token)
        # The next step of this process may hold another share, and others wait for what is left.
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.0)


@contextmanager
def repeatable(strictly: bool = True) -> Iterator[None]:
    """Let a GPU give the same bits each time, in whole float32, while the block runs; a CPU does so anyway.

    Args:
        strictly: Refuse what has no such way to be computed; else it is computed in varying order.

    Raises:
        CcRayError: If something is refused.
    """
    if _current.get() == CPU:
        yield
        return
    # cuBLAS reads it once, when it is first used; without it, it may choose another order each time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with exact, _deterministic_algorithms() if strictly else nullcontext():
        yield


@contextmanager
def moved(*models: nn.Module) -> Iterator[torch.device]:
    """Let models work on the step's device while the block runs; afterwards they are where they were.

    Args:
        models: Moved in place; an optimizer of theirs is made inside of the block.

    Yields:
        The device, for their inputs.
    """
    device = _current.get()
    if (used := _used.get()) is not None:
        used.add(device_name(device))
    away = [(model, home) for model in models if (home := _home(model)) not in (device, None)]
    try:
        for model, _ in away:
            model.to(device)
        yield device
    finally:
        for model, home in away:
            model.to(home)


@contextmanager
def devices_used() -> Iterator[set[str]]:
    """Names of the devices that models are moved to, in this thread while the block runs."""
    used: set[str] = set()
    token = _used.set(used)
    try:
        yield used
    finally:
        _used.reset(token)


def device_name(device: torch.device) -> str:
    """What a device is called in the tables: `cpu`, or `cuda: NVIDIA H200`."""
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def _home(model: nn.Module) -> torch.device | None:
    return next((tensor.device for tensor in chain(model.parameters(), model.buffers())), None)


def _check_there(gpus: float) -> None:
    if torch.cuda.is_available():
        return
    if torch.version.cuda is None:
        way_out = "is a build for CPUs: install a CUDA build of the same version on every node that has GPUs"
    else:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        way_out = (
            f"is built for CUDA {torch.version.cuda} but sees none: `nvidia-smi` on that machine tells whether its "
            f"driver works and is new enough (CUDA_VISIBLE_DEVICES is {visible})"
        )
    raise CcRayError(
        f"the step holds {gpus:g} GPU, but torch {torch.__version__} {way_out}. Or ask for no GPU, by `resources` of "
        "the search space, the operation or the task."
    )


def _out_of_memory(gpus: float, error: Exception) -> str:
    return (
        f"{gpus:g} GPU has too little memory for the step ({str(error).partition('. ')[0]}). Ask for more of it by "
        "`gpus` of `resources`, or for smaller batches where the operation has a `batch_size`."
    )


@contextmanager
def _deterministic_algorithms() -> Iterator[None]:
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        named, refused, _ = str(error).partition(" does not have a deterministic implementation")
        if not refused:
            raise
        raise CcRayError(
            f"on a GPU '{named}' gives other bits each time, so that the same seed would not give the same weights. "
            "Ask for no GPU for this step, or let it be so by `repeatable = False` in the task's class."
        ) from error
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
