"""How a model holds its weights, read from the model itself."""

from __future__ import annotations

from torch import nn

from cc_ray.compress.base import Representation
from cc_ray.store.artifacts import GRID_SUFFIXES, is_quantized
from cc_ray.store.exported import exported_as


def representation_of(model: nn.Module) -> Representation:
    """How the weights are held: quantized if any is in a low-bit type, simulated if any lies on a low-bit grid."""
    if exported_as(model):
        return "exported"
    if any(is_quantized(parameter) for parameter in model.parameters()):
        return "quantized"
    return "simulated" if any(name.endswith(GRID_SUFFIXES) for name, _ in model.named_buffers()) else "float"
