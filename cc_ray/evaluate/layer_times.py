"""How long single layers take once compressed: each is called alone with what it is given within its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from cc_ray.compress.alone import compress_alone
from cc_ray.errors import NotApplicableError
from cc_ray.evaluate.latency import Pass, medians_ms, over_on, timed_on
from cc_ray.evaluate.stored_model import StoredModel
from cc_ray.recipe import Step
from cc_ray.tasks import moved

BUDGET_S: Final = 0.3
"""Time for the passes of one layer, all its levels together, without warm-up."""

Call = tuple[tuple[Any, ...], Mapping[str, Any]]
"""The arguments of one call of a module."""


@dataclass(frozen=True)
class LayerTimes:
    """Times of one layer from the same rounds; each the median for one instance, all calls of the layer together."""

    layer: str
    """Path of its module."""
    model_ms: float
    """As the model has it."""
    times_ms: tuple[float, ...]
    """After each of the steps, in their order."""


def device_said() -> str:
    """What layers are timed on here and now, as the tables say it."""
    with moved() as device:
        return timed_on(device)


def layer_times(
    stored: StoredModel,
    layers: Mapping[str, Sequence[Step]],
    alone: Callable[[], AbstractContextManager[None]],
    *,
    budget_s: float = BUDGET_S,
) -> Iterator[LayerTimes]:
    """Time layers on one thread, or on the GPU that is held, in rounds that go through all steps of a layer.

    Args:
        stored: The model.
        layers: Steps that compress nothing but the layer, by the path of its module.
        alone: Held while a layer is timed, so that nothing else of this program disturbs it.
        budget_s: About how long each layer is timed.

    Raises:
        NotApplicableError: If a step does not apply to its layer, or the model does not call the layer.
    """
    model = stored.load()
    calls = _calls(stored, model, layers)
    for path, steps in layers.items():
        if not calls[path]:
            raise NotApplicableError("layer-times", f"the model computes with '{path}' without calling it.")
        children = [model, *(compress_alone(step, model, stored.context()) for step in steps)]
        modules = [child.get_submodule(path) for child in children]
        with alone(), moved(*modules) as device:
            own, *found = medians_ms(
                [over_on(device, _pass(module, calls[path])) for module in modules], budget_s=budget_s
            )
        yield LayerTimes(path, own, tuple(found))


def _calls(stored: StoredModel, model: nn.Module, layers: Mapping[str, object]) -> dict[str, list[Call]]:
    """What each layer is given while the model answers one calibration instance, on the device of timing."""
    found: dict[str, list[Call]] = {path: [] for path in layers}

    def hear(path: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        return lambda _, arguments, named: found[path].append((arguments, named))

    with moved(model) as device, ExitStack() as hooks, torch.no_grad():
        for path in layers:
            handle = model.get_submodule(path).register_forward_pre_hook(hear(path), with_kwargs=True)
            hooks.callback(handle.remove)
        stored.task.logits(model, stored.task.data("calibration").inputs[:1].to(device))
    return found


def _pass(layer: nn.Module, calls: Sequence[Call]) -> Pass:
    def one() -> None:
        for arguments, named in calls:
            layer(*arguments, **named)

    return one
