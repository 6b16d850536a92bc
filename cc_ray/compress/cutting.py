"""Cut outputs or inputs off linear layers, and tell which are left, so that what is left can still be compared."""

from __future__ import annotations

from typing import Any, Final

from torch import Tensor, nn

from cc_ray.compress.base import Context
from cc_ray.store.structure import fit, is_transposed_linear

OUTPUTS: Final = 0
INPUTS: Final = 1


def matrix(model: nn.Module, path: str) -> Tensor:
    """The weight of a linear layer as (outputs, inputs), also where it lies the other way."""
    layer: Any = model.get_submodule(path)
    weight: Tensor = layer.weight.detach()
    return weight.T if is_transposed_linear(layer) else weight


def keep(model: nn.Module, path: str, kept: Tensor, axis: int, context: Context) -> None:
    """Keep some outputs or inputs of a linear layer, or by `INPUTS` some values of what an embedding holds.

    Args:
        model: Changed in place.
        path: Of the layer.
        kept: Indices of those that stay, rising, (left,).
        axis: `OUTPUTS` or `INPUTS`.
        context: Told what is left of each tensor.
    """
    layer: Any = model.get_submodule(path)
    along = 1 - axis if is_transposed_linear(layer) else axis
    before = context.kept.get(f"{path}.weight") or [list(range(length)) for length in layer.weight.shape]
    layer.weight.data = layer.weight.data.index_select(along, kept).contiguous()
    left = [before[along][index] for index in kept.tolist()]
    context.kept[f"{path}.weight"] = [left if place == along else held for place, held in enumerate(before)]
    if axis == OUTPUTS and layer.bias is not None:
        layer.bias.data = layer.bias.data[kept].contiguous()
        context.kept[f"{path}.bias"] = [left]
    fit(layer)
