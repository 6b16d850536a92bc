"""Shift the outputs of each layer so that their means by channel are again those of an earlier model.

The shift goes into the layer's bias, or where it has none into the batch norm that follows. Layers are corrected in the
order in which they run, each on what the corrected ones before it put out.

Source: Nagel, van Baalen, Blankevoort and Welling, 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", https://arxiv.org/abs/1906.04721 (empirical bias correction)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from cc_ray.compress.base import Context, Family, Finding, Operation, Representation, operation
from cc_ray.compress.inputs import without_padding
from cc_ray.compress.targets import is_layer, listed
from cc_ray.errors import NotApplicableError
from cc_ray.tasks import Split, moved


@operation("bias_correction")
class BiasCorrection(Operation):
    """Changes biases and running means alone, by what the calibration instances show."""

    family: ClassVar[Family | None] = "recovery"
    works_on: ClassVar[str] = "layers with a bias or a batch norm behind"
    reads: ClassVar[tuple[Split, ...]] = ("calibration",)
    accepts: ClassVar[frozenset[Representation]] = frozenset({"float", "simulated", "quantized"})
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"instances": 16})

    reference: Annotated[int, Field(ge=0)] = 0
    """Whose means are wanted: 0 is the base model, k the model after k steps of the same recipe."""
    instances: Annotated[int, Field(ge=1, le=65_536)] = 256
    """Calibration instances that are looked at; they run through the model at once."""

    def ancestors(self) -> tuple[int, ...]:
        """The reference."""
        return (self.reference,)

    def suit(self, model: nn.Module) -> None:
        """Make sure that a layer has a bias, or the model a batch norm that may take one."""
        layers = [module for module in model.modules() if is_layer(module)]
        if not any(_has_bias(layer) for layer in layers) and not any(map(_is_norm, model.modules())):
            raise NotApplicableError(
                self.name,
                "no linear layer or convolution has a bias, and there is no batch norm that could take the shift; "
                "fine_tune or distil repair such a model.",
            )

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Measure the reference, then correct layer after layer in one pass."""
        inputs = context.task.data("calibration").inputs[: self.instances]
        seen = _look(context.ancestor(self.reference), inputs, context)
        correction = _Correction(seen, context.task.places(inputs))
        with moved(model) as device, torch.no_grad():
            with _heard(model, correction.correct):
                context.task.logits(model, inputs.to(device))
            correction.settle(model)
        context.findings.append(correction.account())
        return model


@dataclass(frozen=True)
class _Seen:
    """What the reference shows."""

    means: dict[str, Tensor]
    """Mean output by channel, (channels,), by path of a layer; of one that runs several times, of the first time."""
    biased: set[str]
    """Paths of layers with a bias."""
    norms: dict[str, str]
    """Path of the batch norm that takes in what a layer puts out, by the layer's path."""


def _look(reference: nn.Module, inputs: Tensor, context: Context) -> _Seen:
    seen = _Seen({}, set(), {})
    places = context.task.places(inputs)
    last: list[tuple[str, Tensor]] = []

    def see_layer(path: str, layer: nn.Module, output: Tensor) -> None:
        seen.means.setdefault(path, _mean(layer, output, places).cpu())
        seen.biased.update({path} if _has_bias(layer) else ())
        last[:] = [(path, output)]

    def see_norm(path: str, norm: nn.Module, given: tuple[Any, ...]) -> None:
        if given and last and given[0] is last[0][1]:
            seen.norms[last[0][0]] = path

    with moved(reference) as device, torch.no_grad(), _heard(reference, see_layer), ExitStack() as hooks:
        for path, norm in reference.named_modules():
            if _is_norm(norm):
                hooks.enter_context(norm.register_forward_pre_hook(partial(see_norm, path)))
        context.task.logits(reference, inputs.to(device))
    return seen


class _Correction:
    """What has to be added to the outputs of each layer, and where it is put.

    Args:
        seen: Of the reference.
        places: Which places are real, as `Task.places` gives them.
    """

    def __init__(self, seen: _Seen, places: Sequence[Tensor]) -> None:
        self._seen = seen
        self._places = places
        self._shifts: dict[str, Tensor] = {}

    def correct(self, path: str, layer: nn.Module, output: Tensor) -> Tensor:
        """Shift an output of a layer; of one that runs several times each time by what the first time showed."""
        mean = _mean(layer, output, self._places)
        if not self._can_take(path, layer) or self._seen.means[path].shape != mean.shape:
            return output
        if path not in self._shifts:
            self._shifts[path] = self._seen.means[path].to(mean.device) - mean
        shift = self._shifts[path].to(output.dtype)
        return output + (shift.view(-1, *[1] * (output.dim() - 2)) if isinstance(layer, _ConvNd) else shift)

    def settle(self, model: nn.Module) -> None:
        """Put each shift where it belongs."""
        for path, shift in self._shifts.items():
            if path in self._seen.biased:
                bias = model.get_submodule(path).get_parameter("bias")
                bias.add_(shift.to(bias.dtype))
            else:
                mean = model.get_submodule(self._seen.norms[path]).get_buffer("running_mean")
                mean.sub_(shift.to(mean.dtype))

    def account(self) -> Finding:
        """How many layers were corrected, and which could not be."""
        left = [path for path in self._seen.means if path not in self._shifts]
        more = (
            f"; {len(left)} are as they were, having neither bias nor batch norm, or other channels: {listed(left)}"
            if left
            else ""
        )
        return Finding(
            "biases_corrected",
            "info",
            f"the mean outputs of {len(self._shifts)} of {len(self._seen.means)} layers were corrected{more}.",
            expected=float(len(self._seen.means)),
            found=float(len(self._shifts)),
        )

    def _can_take(self, path: str, layer: nn.Module) -> bool:
        # A layer that has a bias where the reference has a batch norm holds that norm too: its outputs mean others.
        if _has_bias(layer):
            return path in self._seen.biased
        return path in self._seen.norms and path not in self._seen.biased


@contextmanager
def _heard(model: nn.Module, heard: Callable[[str, nn.Module, Tensor], Tensor | None]) -> Iterator[None]:
    """Hear each layer's path, itself and output while the block runs; what is given back takes the output's place."""
    with ExitStack() as hooks:
        for path, module in model.named_modules():
            if is_layer(module):
                hooks.enter_context(module.register_forward_hook(partial(_hear, heard, path)))
        yield


def _hear(heard: Any, path: str, module: nn.Module, given: Any, output: Tensor) -> Any:
    return heard(path, module, output)


def _mean(layer: nn.Module, output: Tensor, places: Sequence[Tensor]) -> Tensor:
    """Mean over instances and real positions, (channels,)."""
    real = without_padding(layer, output, places)
    channels = real.movedim(1, -1) if isinstance(layer, _ConvNd) and real.dim() > 2 else real
    return channels.float().flatten(0, -2).mean(0)


def _has_bias(layer: nn.Module) -> bool:
    return isinstance(getattr(layer, "bias", None), nn.Parameter)


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.track_running_stats
