"""Export the model to a file for the world outside: from here on the file answers, and is compared with the parent.

It is the last step of a recipe. What is measured of it (answers, size, latency beside the base model) is measured of
the file as it was read back. Programs of torch.export and ExecuTorch can hold code: they are made and measured only
where the environment has `CC_RAY_RUN_PROGRAMS=1`.

Source: torch.export, https://docs.pytorch.org/docs/stable/export.html; ExecuTorch,
https://github.com/pytorch/executorch; safetensors, https://github.com/huggingface/safetensors
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from cc_ray.compress.base import Context, Family, Operation, Representation, operation
from cc_ray.compress.export_onnx import INSTANCES, compared
from cc_ray.compress.exporting import exported
from cc_ray.errors import NotApplicableError
from cc_ray.store.artifacts import opened
from cc_ray.store.exported import PROGRAMS
from cc_ray.tasks import Split


@operation("export")
class Export(Operation):
    """Makes a program that torch or ExecuTorch runs, or a plain safetensors file for the model's own code."""

    family: ClassVar[Family | None] = "export"
    works_on: ClassVar[str] = "any model; programs of what torch can export"
    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated"})
    gives: ClassVar[Representation | None] = "exported"
    reshapes: ClassVar[bool] = True
    # ExecuTorch is no part of what everybody installs: no example asks for it.
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({"to": "safetensors"}, {"to": "torch_export"})

    to: Literal["torch_export", "executorch", "safetensors"]
    """What to make: a torch.export program, one for phones and microcontrollers, or every tensor at full length."""
    instances: Annotated[int, Field(ge=2, le=65_536)] = INSTANCES
    """Calibration instances on which outputs are compared."""

    def suit(self, model: nn.Module) -> None:
        """Make sure that programs may be run here, and that what makes them is installed."""
        if self.to in PROGRAMS and (refusal := PROGRAMS[self.to].refusal()):
            raise NotApplicableError(self.name, refusal)
        if self.to == "executorch" and find_spec("executorch") is None:
            raise NotApplicableError(
                self.name, "ExecuTorch is not installed; pip install 'cc-ray[executorch]' brings it."
            )

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Export, read back, and compare outputs over calibration instances."""
        task, inputs = context.task, context.task.data("calibration").inputs[: self.instances]
        content = exported(self.name, task, model, inputs, self.to)
        # The base model gives the architecture alone: all of its tensors are replaced.
        child = opened(self.to, content, context.ancestor(0), Path(self.to))
        with torch.no_grad():
            context.findings.append(compared(task.logits(model, inputs), task.logits(child, inputs)))
        return child

    def runs_on(self) -> frozenset[str]:
        """A program runs on the CPU; a module that was read back wherever the model did."""
        return frozenset({"cpu"}) if self.to in PROGRAMS else self.realised_on
