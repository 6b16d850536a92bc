"""By how much the loss changes, to first order, if parts of what a layer takes in are shut.

Source: Michel, Levy and Neubig, 2019, "Are Sixteen Heads Really Better than One?", https://arxiv.org/abs/1905.10650
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cc_ray.compress.base import Context
from cc_ray.compress.inputs import batches
from cc_ray.tasks import moved


def slopes(model: nn.Module, gates: Mapping[str, int], context: Context, instances: int) -> dict[str, Tensor]:
    """Mean over calibration instances of |d loss / d gate|, all gates being 1.

    Args:
        model: Left as it is.
        gates: Number of gates by path of a layer: what it takes in, (n, ..., width), is cut into so many equal parts.
        context: Gives task and data.
        instances: How many at most.

    Returns:
        By path, (gates,).
    """
    sums = {path: torch.zeros(count) for path, count in gates.items()}
    given = batches(context, instances)
    labels = context.task.data("calibration").labels[:instances].tensor_split(len(given))
    with moved(model) as device, torch.enable_grad():
        for inputs, wanted in zip(given, labels, strict=True):
            held: dict[str, Tensor] = {}
            with ExitStack() as hooks:
                for path in gates:
                    hook = partial(_hold, held, path)
                    hooks.enter_context(model.get_submodule(path).register_forward_pre_hook(hook))
                loss = context.task.loss(model, inputs.to(device), wanted.to(device))
            # The loss is a mean over the batch: an instance's own is so many times larger.
            found = torch.autograd.grad(loss * len(inputs), list(held.values()))
            for (path, fed), slope in zip(held.items(), found, strict=True):
                parts = (fed * slope).detach().reshape(len(inputs), -1, gates[path], fed.shape[-1] // gates[path])
                sums[path] += parts.sum((1, 3)).abs().sum(0).cpu()
    return {path: total / sum(len(inputs) for inputs in given) for path, total in sums.items()}


def _hold(held: dict[str, Tensor], path: str, module: nn.Module, given: tuple[Any, ...]) -> None:
    held[path] = given[0] if given[0].requires_grad else given[0].requires_grad_()
