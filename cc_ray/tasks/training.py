"""Training, shared by base models and by operations that train further."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Generator, Tensor, nn

from cc_ray.tasks.base import Data
from cc_ray.tasks.device import moved

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Mean loss, a differentiable scalar, of a model on inputs, (n, ...), with labels, (n, ...)."""
Augment = Callable[[Tensor, Generator], Tensor]
"""Changed copies of one batch of inputs, of the same shape."""
AfterEpoch = Callable[[nn.Module, int], None]
"""Looks at a model in training, and hears how many epochs are behind it."""

Masks = list[tuple[nn.Parameter, Tensor]]


def train(
    model: nn.Module,
    data: Data,
    loss: Loss,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int = 64,
    seed: int = 0,
    keep_zeros: bool = False,
    weight_decay: float = 0.01,
    warm_up: float = 0.3,
    largest_gradient: float | None = None,
    bfloat16: bool = False,
    augment: Augment | None = None,
    after_epoch: AfterEpoch | None = None,
) -> nn.Module:
    """Train with AdamW; the learning rate rises and falls once (one cycle).

    The same seed gives the same weights on the same device, which is the step's. Torch's global random state is left as
    it was found.

    Args:
        model: Trained in place; on the CPU before and afterwards.
        data: What it is trained on.
        loss: What is made small, such as `Task.loss`.
        epochs: Passes over the data; 0 changes nothing.
        learning_rate: The highest of the cycle.
        batch_size: Instances a step; a last smaller batch is left out where a full one exists.
        seed: Seeds the order of instances, augmentation and dropout.
        keep_zeros: Weights (tensors of two or more axes) that are exactly zero stay zero, so pruning survives.
        weight_decay: Share of a weight that is taken off it per unit of learning rate.
        warm_up: Share of the steps in which the learning rate rises, in [0, 1).
        largest_gradient: L2 norm over all gradients of a step; longer ones are shortened to it. None leaves them.
        bfloat16: Matrix products and convolutions are computed in bfloat16 where torch's autocast has them so, on a GPU
            and on a CPU; weights, gradients and the optimizer's state stay as they are.
        augment: Changes each batch before the model sees it.
        after_epoch: Called after each epoch with the model on the device; leaves it and torch's random state as they
            are.

    Returns:
        The same model, in evaluation mode.
    """
    if epochs == 0:
        return model.eval()
    with moved(model) as device, torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
        steps = _steps(data, epochs, batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=warm_up)
        masks = _zero_masks(parameters) if keep_zeros else []
        model.train()
        for epoch, batches in enumerate(_epochs(data, epochs, batch_size, seed, augment), start=1):
            for inputs, labels in batches:
                optimizer.zero_grad()
                with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                    missed = loss(model, inputs.to(device), labels.to(device))
                torch.autograd.backward(missed)
                if largest_gradient is not None:
                    nn.utils.clip_grad_norm_(parameters, largest_gradient)
                optimizer.step()
                schedule.step()
                _apply(masks)
            if after_epoch:
                after_epoch(model, epoch)
        optimizer.zero_grad()
    return model.eval()


def _epochs(
    data: Data, epochs: int, batch_size: int, seed: int, augment: Augment | None
) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
    """The batches of each epoch; those of one are to be taken before the next."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        yield _batches(data, batch_size, generator, augment)


def _batches(
    data: Data, batch_size: int, generator: Generator, augment: Augment | None
) -> Iterator[tuple[Tensor, Tensor]]:
    for chosen in _cut(torch.randperm(len(data), generator=generator), batch_size):
        inputs = data.inputs[chosen]
        yield augment(inputs, generator) if augment else inputs, data.labels[chosen]


def _cut(order: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    # A last batch of very few instances would give batch norm a poor estimate, or none.
    batches = torch.split(order, batch_size)
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < batch_size else batches


def _steps(data: Data, epochs: int, batch_size: int) -> int:
    return epochs * max(1, len(data) // batch_size)


def _zero_masks(parameters: list[nn.Parameter]) -> Masks:
    return [(weight, weight == 0) for weight in parameters if weight.dim() >= 2]


@torch.no_grad()
def _apply(masks: Masks) -> None:
    for weight, zeros in masks:
        # Not by multiplication, which leaves -0.0.
        weight.masked_fill_(zeros, 0.0)
