"""Hold weights of linear layers and convolutions as integers and multiply integers: inputs get scales beforehand.

The scales of inputs are found on the calibration split. Layers put out floats, and what stands between them (batch
norms, activations, additions) stays float: batch norms are best folded into convolutions first. So other operations can
still follow; `export_onnx(precision="int8")` keeps integers between layers, too, and is faster, but is the last step.

Both stand in place of PT2E (torch.export, X86InductorQuantizer, inductor): ResNet-20 takes 0.30 of float32's time with
it at batch 64, 0.29 as an ONNX program, 0.57 here. But each process that loads a model of PT2E compiles it, for 18 s at
least, and the file holds float weights: `tests/benchmarks/test_int8.py` has the figures.

Source: Jacob et al., 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", https://arxiv.org/abs/1712.05877; kernels of oneDNN, as torch's inductor calls them for quantized models
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn

from cc_ray.compress.base import Context, Finding, operation
from cc_ray.compress.conversion import Conversion
from cc_ray.compress.ranges import Range, clipped_ranges, input_ranges
from cc_ray.compress.rounding import block_counts, over_blocks
from cc_ray.compress.targets import Target, listed
from cc_ray.store.low_bit import LEVELS, TOP, StaticInt8
from cc_ray.tasks import Split


@operation("quantize_static")
class QuantizeStatic(Conversion):
    """Makes the model smaller, and convolutions faster on a CPU in batches; one small input at a time is no faster."""

    works_on: ClassVar[str] = "linear layers and convolutions of two axes"
    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    realised_on: ClassVar[frozenset[str]] = frozenset({"cpu"})
    convertible: ClassVar[str] = "a linear layer or a convolution of two axes"
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"inputs": "range", "instances": 16})

    inputs: Literal["least_error", "range"] = "least_error"
    """What an input's 8 bits span: the part of its range where rounding errs least, or all that was seen."""
    instances: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    """How many calibration instances at most are looked at."""

    def converts(self, target: Target) -> bool:
        """Linear layers and convolutions of float32 whose forward calls torch's function and nothing else."""
        module = target.module
        plain = type(module) is nn.Linear or (type(module) is nn.Conv2d and not isinstance(module.padding, str))
        return plain and target.attribute == "weight" and target.tensor.dtype == torch.float32

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Find the inputs' ranges in the float model, then convert."""
        targets = self.targets(model, context)
        if self.inputs == "range":
            ranges = input_ranges(model, targets, context, self.instances)
        else:
            ranges = clipped_ranges(model, targets, context, self.instances, LEVELS)
        for target in targets:
            if target.path in ranges:
                _convert(target, ranges[target.path])
        if unseen := [target.path for target in targets if target.path not in ranges]:
            context.findings.append(_unseen(unseen))
        return model


def _convert(target: Target, taken: Range) -> None:
    weight = target.tensor.detach()
    scale = over_blocks(weight.abs(), block_counts(target, "channel"), torch.amax) / TOP
    scale = scale.clamp_min(torch.finfo(torch.float32).tiny)
    low, high = taken
    step = max((high - low) / LEVELS, torch.finfo(torch.float32).tiny)
    given = torch.tensor([step, round(-low / step)])
    target.module.weight = nn.Parameter(StaticInt8.of(weight, scale, given), requires_grad=False)


def _unseen(paths: list[str]) -> Finding:
    return Finding(
        "layers_unseen",
        "warning",
        f"{len(paths)} layers are not called when the model answers, so nothing is known of their inputs and they stay "
        f"float: {listed(paths)}.",
        layer=paths[0] if len(paths) == 1 else "",
    )
