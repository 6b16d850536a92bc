"""Estimate batch-norm statistics anew on the calibration split; weights stay as they are.

Source: Li, Wu, Su and Wang, 2020, "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning",
https://arxiv.org/abs/2007.02491 (adaptive batch normalisation)
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cc_ray.compress.base import Context, Family, Operation, Representation, operation
from cc_ray.errors import NotApplicableError
from cc_ray.tasks import Split, moved


@operation("calibrate")
class Calibrate(Operation):
    """Replaces running means and variances by their averages over the calibration instances."""

    family: ClassVar[Family | None] = "recovery"
    works_on: ClassVar[str] = "batch norms"
    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated", "quantized"})

    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64
    """Instances a batch; the statistics are the averages over batches of nearly equal size."""

    def suit(self, model: nn.Module) -> None:
        """Make sure that there are statistics."""
        if not _norms(model):
            raise NotApplicableError(
                self.name, "it has no batch norm with running statistics, so there is nothing to estimate."
            )

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Run the calibration split through the model with only its batch norms in training mode."""
        norms = _norms(model)
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain average over all batches
            norm.train()
        inputs = context.task.data("calibration").inputs
        with moved(model) as device, torch.no_grad():
            for batch in inputs.tensor_split(-(-len(inputs) // self.batch_size)):
                context.task.logits(model, batch.to(device))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return model.eval()


def _norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
