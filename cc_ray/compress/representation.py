"""How a model holds its weights, read from the model itself."""

from __future__ import annotations

from torch import nn

from cc_ray.compress.base import Representation
from cc_ray.store.artifacts import SCALE_SUFFIX, is_int8


def representation_of(model: nn.Module) -> Representation:
    """How the weights are held: quantized if any is in a low-bit type, simulated if any lies on a low-bit grid."""
    if any(is_int8(parameter) for parameter in model.parameters()):
        return "quantized"
    return "simulated" if any(name.endswith(SCALE_SUFFIX) for name, _ in model.named_buffers()) else "float"
