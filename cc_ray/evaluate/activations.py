"""Activations: what each module puts out over a small fixed sample of evaluation instances.

Mean, deviation, zeros and histogram are over all outputs. The values that are kept, so that any two models can be
compared (SQNR, cosine, CKA), are one number per instance and channel: outputs of three axes (instances, tokens,
channels) are averaged over tokens, those of four or more (instances, channels, height, width) over all positions. That
is done whatever their size, so that a pruned model's values mean the same as its parent's; of more than
`MAX_CHANNELS` channels the first are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cc_ray.tasks import Data, Task, moved

SAMPLE_SIZE: Final = 16
MAX_CHANNELS: Final = 1024
BINS: Final = 30

_PASSES_ON: Final = (nn.Identity, nn.Flatten, nn.modules.dropout._DropoutNd)
"""Modules that hand their input on in evaluation mode: nothing to see."""

Outputs = NDArray[np.float64]


def activations(task: Task, model: nn.Module, data: Data, parent: nn.Module | None = None) -> Iterator[dict[str, Any]]:
    """Rows of `schema.ACTIVATIONS` (without `model_id`) of every innermost module, in the order of their first call.

    A module that is called more than once has the outputs of its last call.

    Args:
        task: Knows how the model is called.
        model: In evaluation mode, on the CPU; left as it was.
        data: The evaluation split; `SAMPLE_SIZE` instances are taken at equal distances, fewer where the task's models
            are asked about fewer at once.
        parent: The model that this one was made from, in the same state; None for a base model.
    """
    chosen = sample(len(data), min(SAMPLE_SIZE, task.at_once))
    instances = data.instances[chosen].tolist()
    modules = dict(model.named_modules())
    alone = isolated(task, model, parent, data.inputs[chosen]) if parent is not None else {}
    for path, described in record(task, model, data.inputs[chosen], partial(_describe, len(chosen))).items():
        if described is None:
            continue
        yield {
            "layer": path,
            "module": type(modules[path]).__name__,
            "instances": instances,
            **described,
            "isolated_sqnr_db": alone.get(path),
        }


def sample(count: int, most: int = SAMPLE_SIZE) -> Tensor:
    """Positions of the sampled instances among `count`, (at most `most`,)."""
    return torch.linspace(0, count - 1, min(count, most)).round().long()


def record(
    task: Task, model: nn.Module, inputs: Tensor, told: Callable[[Tensor], Any] = lambda it: it
) -> dict[str, Any]:
    """What there is to tell of the outputs of every innermost module, by its path, for one batch of inputs.

    Args:
        task: Knows how the model is called.
        model: In evaluation mode, on the CPU.
        inputs: The batch.
        told: Is given the outputs, (n, ...), on the CPU in double precision, and gives what is kept of them: those of
            all modules together may be too many.
    """
    found: dict[str, Any] = {}
    with moved(model) as device, ExitStack() as hooks, torch.no_grad():
        for path, module in model.named_modules():
            if next(module.children(), None) is None and not isinstance(module, _PASSES_ON):
                hooks.enter_context(module.register_forward_hook(partial(_keep, found, told, path)))
        task.logits(model, inputs.to(device))
    return found


def isolated(task: Task, model: nn.Module, parent: nn.Module, inputs: Tensor) -> dict[str, float | None]:
    """How much each module of a model would disturb its parent if it alone took the place of the parent's.

    Every innermost module that holds tensors is fed with what the parent's module of the same path is fed.

    Returns:
        SQNR of its output by path, 20 log10(||parent|| / ||parent - model||) in dB; None where it equals the parent's,
        or inputs or outputs do not fit. Of several calls the last counts.
    """
    children = dict(model.named_modules())
    found: dict[str, float | None] = {}
    with moved(model, parent) as device, ExitStack() as hooks, torch.no_grad():
        for path, module in parent.named_modules():
            child = children.get(path)
            if child is not None and next(module.children(), None) is None and _holds_tensors(child):
                answers: list[Tensor | None] = []
                hooks.enter_context(module.register_forward_pre_hook(partial(_try, child, answers), with_kwargs=True))
                hooks.enter_context(module.register_forward_hook(partial(_weigh, found, path, answers)))
        task.logits(parent, inputs.to(device))
    return found


def reduced(outputs: Tensor) -> Tensor:
    """One number per instance and channel, (n, channels), of outputs (n, ...)."""
    if outputs.dim() == 3:
        outputs = outputs.mean(dim=1)
    elif outputs.dim() > 3:
        outputs = outputs.flatten(2).mean(dim=2)
    return outputs.reshape(len(outputs), -1)[:, :MAX_CHANNELS]


def of_instances(outputs: Tensor, count: int) -> Tensor | None:
    """Outputs with an entry for each of so many instances, (count, ...).

    What a module puts out once for all of them, such as positions, is that of each; what has the tokens of all behind
    each other is cut at the instances; None if there is no telling which output belongs to which.
    """
    if not outputs.dim() or (len(outputs) not in (1, count) and len(outputs) % count):
        return None
    if len(outputs) == 1:
        return outputs.expand(count, *outputs.shape[1:])
    return outputs if len(outputs) == count else outputs.reshape(count, -1, *outputs.shape[1:])


def _keep(
    found: dict[str, Any],
    told: Callable[[Tensor], Any],
    path: str,
    module: nn.Module,
    inputs: Any,
    outputs: Any,
) -> None:
    if isinstance(outputs, Tensor):
        # A copy: a following module may work in place.
        found[path] = told(outputs.detach().to("cpu", torch.float64, copy=True))


def _holds_tensors(module: nn.Module) -> bool:
    return any(True for _ in module.state_dict(keep_vars=True))


def _try(child: nn.Module, answers: list[Tensor | None], module: nn.Module, args: Any, kwargs: Any) -> None:
    """Feed the child's module; before the parent's, which may work in place."""
    answers.clear()
    try:
        outputs = child(*_copied(args), **{name: _copied(value) for name, value in kwargs.items()})
    except (RuntimeError, ValueError, IndexError):  # Reshaped: it takes other inputs.
        outputs = None
    answers.append(outputs.double() if isinstance(outputs, Tensor) else None)


def _copied(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_copied(item) for item in value)
    return value.clone() if isinstance(value, Tensor) else value


def _weigh(
    found: dict[str, float | None],
    path: str,
    answers: list[Tensor | None],
    module: nn.Module,
    inputs: Any,
    outputs: Any,
) -> None:
    mine = answers.pop()
    found[path] = None
    if mine is not None and isinstance(outputs, Tensor) and mine.shape == outputs.shape:
        signal, noise = float(outputs.double().norm()), float((mine - outputs.double()).norm())
        if signal > 0 and 0 < noise < float("inf"):
            found[path] = 20 * math.log10(signal / noise)


def _describe(count: int, outputs: Tensor) -> dict[str, Any] | None:
    apart = of_instances(outputs, count)
    if apart is None:
        return None
    values: Outputs = outputs.numpy()
    kept = reduced(apart)
    counts, edges = np.histogram(values[np.isfinite(values)], bins=BINS)
    with np.errstate(invalid="ignore"):
        mean, std = float(values.mean()), float(values.std())
    return {
        "mean": mean,
        "std": std,
        "zeros": float((values == 0).mean()),
        "histogram": counts.tolist(),
        "histogram_edges": edges.tolist(),
        "shape": list(kept.shape),
        "values": kept.flatten().tolist(),
    }
