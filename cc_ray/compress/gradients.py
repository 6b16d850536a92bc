"""What the task's loss says of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from cc_ray.compress.base import Context
from cc_ray.tasks import moved


def loss_changes(
    model: nn.Module,
    weights: Sequence[Tensor],
    context: Context,
    split: Literal["train", "calibration"],
    instances: int,
    batch_size: int,
) -> list[Tensor]:
    """How much the loss would change without each weight, to first order: mean of |w dL/dw| over batches.

    Args:
        model: In evaluation mode; left as it is.
        weights: Parameters of it.
        context: Gives task and data.
        split: Where the instances come from.
        instances: How many at most, the first ones.
        batch_size: How many make one loss. With few, weights that matter to some instances are not lost among others.

    Returns:
        For each weight tensor one of its shape, float32, on the CPU; zero where the loss does not depend on it.
    """
    data = context.task.data(split)
    inputs, labels = data.inputs[:instances], data.labels[:instances]
    with moved(model) as device, torch.enable_grad(), _requiring_gradients(weights):
        sums = [torch.zeros_like(weight, dtype=torch.float32, requires_grad=False) for weight in weights]
        for chosen in torch.split(torch.arange(len(labels)), batch_size):
            loss = context.task.loss(model, inputs[chosen].to(device), labels[chosen].to(device))
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            for total, weight, gradient in zip(sums, weights, gradients, strict=True):
                if gradient is not None:
                    total.add_((weight.detach() * gradient).abs(), alpha=len(chosen) / len(labels))
    return [total.cpu() for total in sums]


@contextmanager
def _requiring_gradients(weights: Sequence[Tensor]) -> Iterator[None]:
    frozen = [weight for weight in weights if not weight.requires_grad]
    for weight in frozen:
        weight.requires_grad_(True)
    try:
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(False)
