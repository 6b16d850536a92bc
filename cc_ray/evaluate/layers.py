"""Layers: the parameters of a model, tensor by tensor, alone and against the parent model.

The values are the real ones, read back from the saved model: what a quantized weight stands for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from cc_ray.store.weights import Weight

BINS: Final = 31
"""Bins of a histogram: odd, so that zero has a bin of its own in the middle."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """One parameter tensor; the fields are the columns of `schema.LAYERS`."""

    layer: str
    tensor: str
    module: str
    shape: list[int]
    dtype: str
    parameters: int
    zeros: int
    effective_bits: float
    l1: float
    l2: float
    min: float
    max: float
    histogram: list[int]
    histogram_edges: list[float]
    sqnr_db: float | None
    relative_change: float | None
    reshaped: bool
    kept: list[list[int]] | None

    @property
    def is_weight(self) -> bool:
        """Whether it has two or more axes: a weight, not a bias or a norm's scale."""
        return len(self.shape) >= 2

    def row(self, model_id: str) -> dict[str, Any]:
        """A row of `schema.LAYERS`."""
        return {"model_id": model_id, **asdict(self)}


def layers(
    model: nn.Module,
    weights: Mapping[str, Weight],
    parent_weights: Mapping[str, Weight] | None = None,
    kept: Mapping[str, list[list[int]]] | None = None,
) -> Iterator[Layer]:
    """Describe every parameter of a model, biases and norms too, in the model's order; one is in memory at a time.

    Tied parameters come once, under their first name. Buffers are left out: they are not parameters.

    Args:
        model: Gives names and classes of modules.
        weights: The saved values by tensor name.
        parent_weights: Those of the parent model; None for a base model.
        kept: What the operation recorded of reshaped tensors: by name, for each axis the parent's indices left.
    """
    for name, _ in model.named_parameters():
        path, _, tensor = name.rpartition(".")
        module = type(model.get_submodule(path)).__name__
        parent = parent_weights.get(name) if parent_weights is not None else None
        yield _layer(path, tensor, module, weights[name], parent, (kept or {}).get(name))


def histogram(values: Values) -> tuple[list[int], list[float]]:
    """Counts and edges of `BINS` bins, symmetrical about zero, reaching to the largest finite magnitude."""
    finite = values[np.isfinite(values)]
    reach = float(np.abs(finite).max(initial=0.0)) or 1.0
    counts, edges = np.histogram(finite, bins=BINS, range=(-reach, reach))
    return counts.tolist(), edges.tolist()


def changes(values: Values, parent: Values) -> tuple[float | None, float | None]:
    """How far a tensor is from its parent's of the same shape.

    Returns:
        SQNR, 20 log10(||parent|| / ||parent - values||) in dB, and relative change, ||values - parent|| / ||parent||.
        Equal tensors have no SQNR and change 0; neither is defined against a parent that is all zeros, nor with
        values that are not finite.
    """
    with np.errstate(invalid="ignore"):
        signal = float(np.linalg.norm(parent))
        noise = float(np.linalg.norm(values - parent))
    if noise == 0:
        return None, 0.0
    if signal == 0 or not np.isfinite(noise / signal):
        return None, None
    return float(20 * np.log10(signal / noise)), noise / signal


def _layer(
    path: str, tensor: str, module: str, weight: Weight, parent: Weight | None, kept: list[list[int]] | None
) -> Layer:
    values = weight.values.astype(np.float64).ravel()
    counts, edges = histogram(values)
    reshaped = parent is not None and parent.values.shape != weight.values.shape
    sqnr_db, relative_change = (
        (None, None) if parent is None or reshaped else changes(values, parent.values.astype(np.float64).ravel())
    )
    return Layer(
        layer=path,
        tensor=tensor,
        module=module,
        shape=list(weight.values.shape),
        dtype=weight.dtype,
        parameters=values.size,
        zeros=int(np.count_nonzero(values == 0)),
        effective_bits=8 * weight.stored_bytes / max(values.size, 1),
        l1=float(np.abs(values).sum()),
        l2=float(np.linalg.norm(values)),
        min=float(values.min(initial=np.inf)),
        max=float(values.max(initial=-np.inf)),
        histogram=counts,
        histogram_edges=edges,
        sqnr_db=sqnr_db,
        relative_change=relative_change,
        reshaped=reshaped,
        kept=kept if reshaped else None,
    )
