"""Predictions: a model is asked about instances, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from cc_ray.evaluate.answers import BATCH_SIZE, kind_of
from cc_ray.tasks import Data, Task, moved


def predict(
    task: Task,
    model: nn.Module,
    data: Data,
    heard: Callable[[Any], object] = lambda _: None,
    others: Mapping[str, nn.Module] | None = None,
) -> Any:
    """Ask a model about every instance, in batches.

    Args:
        task: Says of what kind the answers are, and how the model is called.
        model: In evaluation mode; answers on the step's device and is where it was afterwards.
        data: The instances.
        heard: Is given the answers to each batch before the next one is asked.
        others: Models that it is compared with meanwhile, where the kind of answers does so; see `Answers.ask`.

    Returns:
        The answers to all, of the task's kind.
    """
    kind, others = kind_of(task), others or {}
    found = []
    with moved(model, *others.values()) as device, torch.no_grad():
        for batch in _split(data, BATCH_SIZE):
            parts = _split(batch, task.at_once)
            answers = kind.joined(
                [kind.ask(task, model, Data(p.inputs.to(device), p.labels, p.instances), others) for p in parts]
            )
            heard(answers)
            found.append(answers)
    return kind.joined(found)


def _split(data: Data, size: int) -> Iterator[Data]:
    parts = (torch.split(values, size) for values in (data.inputs, data.labels, data.instances))
    return (Data(*part) for part in zip(*parts, strict=True))
