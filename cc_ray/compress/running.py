"""Whether a model whose architecture was changed still runs: what its own code expects is seen only then."""

from __future__ import annotations

import torch
from torch import nn

from cc_ray.compress.base import Context
from cc_ray.errors import NotApplicableError


def check_runs(name: str, model: nn.Module, context: Context, remedy: str) -> None:
    """Run a model on one calibration instance.

    Args:
        name: Of the operation that changed it.
        model: In evaluation mode, on the CPU.
        context: Gives task and data.
        remedy: What is probably the matter, and what to do; a clause without a full stop.

    Raises:
        NotApplicableError: If it fails.
    """
    try:
        with torch.no_grad():
            outputs = context.task.logits(model, context.task.data("calibration").inputs[:1])
    except (RuntimeError, AttributeError, TypeError, KeyError, IndexError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise NotApplicableError(name, f"changed like this it does not run ({said}): {remedy}.") from error
    if not outputs.isfinite().all():
        raise NotApplicableError(name, f"changed like this it puts out values that are not finite: {remedy}.")
