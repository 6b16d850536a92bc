"""How long single layers take once compressed: each is called alone with what it is given within its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Final

import torch
from torch import nn

from cc_ray.compress.alone import compress_alone
from cc_ray.errors import NotApplicableError
from cc_ray.evaluate.latency import Pass, medians_ms
from cc_ray.evaluate.stored_model import StoredModel
from cc_ray.recipe import Step

BUDGET_S: Final = 0.3
"""Time for the passes of one layer, all its levels together, without warm-up."""

Call = tuple[tuple[Any, ...], Mapping[str, Any]]
"""The arguments of one call of a module."""


def layer_times(
    stored: StoredModel,
    layers: Mapping[str, Sequence[Step]],
    alone: Callable[[], AbstractContextManager[None]],
    *,
    budget_s: float = BUDGET_S,
) -> dict[str, list[float]]:
    """Time layers on one thread of this machine, in rounds that go through all steps of a layer.

    Args:
        stored: The model.
        layers: Steps that compress nothing but the layer, by the path of its module.
        alone: Held while a layer is timed, so that nothing else of this program disturbs it.
        budget_s: About how long each layer is timed.

    Returns:
        Median milliseconds for one instance in the order of the steps, by layer; of a layer that the model calls
        several times those of all calls.

    Raises:
        NotApplicableError: If a step does not apply to its layer, or the model does not call the layer.
    """
    model = stored.load()
    calls = _calls(stored, model, layers)
    found = {}
    for path, steps in layers.items():
        if not calls[path]:
            raise NotApplicableError("layer-times", f"the model computes with '{path}' without calling it.")
        children = [compress_alone(step, model, stored.context()).get_submodule(path) for step in steps]
        with alone():
            found[path] = medians_ms([_pass(child, calls[path]) for child in children], budget_s=budget_s)
    return found


def _calls(stored: StoredModel, model: nn.Module, layers: Mapping[str, object]) -> dict[str, list[Call]]:
    """What each layer is given while the model answers one calibration instance."""
    found: dict[str, list[Call]] = {path: [] for path in layers}

    def hear(path: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        return lambda _, arguments, named: found[path].append((arguments, named))

    with ExitStack() as hooks, torch.no_grad():
        for path in layers:
            handle = model.get_submodule(path).register_forward_pre_hook(hear(path), with_kwargs=True)
            hooks.callback(handle.remove)
        stored.task.logits(model, stored.task.data("calibration").inputs[:1])
    return found


def _pass(layer: nn.Module, calls: Sequence[Call]) -> Pass:
    def one() -> None:
        for arguments, named in calls:
            layer(*arguments, **named)

    return one
