"""Weights of a model that was made elsewhere: saved as the store saves models, and measured tensor by tensor."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from cc_ray.errors import StoreError
from cc_ray.evaluate.layers import Layer, layers
from cc_ray.evaluate.metrics import metrics
from cc_ray.imports.reading import ResultFileError
from cc_ray.store import Store
from cc_ray.store.artifacts import save_model
from cc_ray.store.layout import Draft
from cc_ray.store.weights import Weight, read_weights

METRICS: Final = ("size_bytes", "num_parameters", "num_nonzero_parameters", "sparsity", "effective_bits")
"""Registered metrics that follow from the saved weights alone."""


@dataclass(frozen=True)
class Measured:
    """What is known of a model from its weights."""

    digest: str
    """Digest of the file that it is saved in."""
    layers: tuple[dict[str, Any], ...]
    """Rows of `schema.LAYERS` without `model_id`."""
    metrics: tuple[dict[str, Any], ...]
    """Rows of `schema.METRICS` without `model_id`."""


@dataclass(frozen=True)
class _Subject:
    """What the metrics of weights are taken from: a `Measurement` without data."""

    layers: tuple[Layer, ...]
    artifact_size: int

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)


def module_of(model: object) -> nn.Module:
    """A module that holds the weights.

    Args:
        model: A module, or arrays or tensors by their name within the model (`conv1.weight`).

    Raises:
        ResultFileError: If it is neither.
    """
    if isinstance(model, nn.Module):
        return model
    if not isinstance(model, Mapping) or not model or not all(isinstance(name, str) and name for name in model):
        raise ResultFileError(
            f"model must be a torch module, or arrays by name as its state_dict() gives them; found {type(model)}."
        )
    root = nn.Module()
    for name, values in model.items():
        _put(root, name, _tensor(name, values))
    return root


def measure(store: Store, model: nn.Module, *, parent: str | None, save: bool) -> Measured:
    """Measure the weights of a model; saved in the store if asked for, else for this long only.

    Args:
        store: Knows the parent's weights; takes the file.
        model: The weights.
        parent: Digest of the parent's saved file; None if there is none.
        save: Whether the store keeps the file.

    Raises:
        StoreError: If the weights are of a kind that a model file cannot hold.
    """
    with tempfile.TemporaryDirectory() as folder:
        layout = store.layout if save else Draft(Path(folder))
        artifact = save_model(layout, model)
        parent_weights = _weights(store, parent) if parent else None
        found = tuple(layers(model, read_weights(layout, artifact.digest), parent_weights))
    subject = _Subject(found, artifact.size_bytes)
    return Measured(
        artifact.digest,
        tuple(asdict(layer) for layer in found),
        tuple({"metric": name, **asdict(value)} for name in METRICS for value in metrics[name].values(subject)),
    )


def _weights(store: Store, digest: str) -> Mapping[str, Weight] | None:
    try:
        return read_weights(store.layout, digest)
    except StoreError:
        # Most models made elsewhere come without a file.
        if store.layout.artifact_bytes(digest) is not None:
            raise
        return None


def _tensor(name: str, values: object) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise ResultFileError(f"model: '{name}' must be an array or tensor of numbers, found {type(values)}.")
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def _put(root: nn.Module, name: str, tensor: Tensor) -> None:
    path, _, last = name.rpartition(".")
    module = root
    try:
        for part in path.split(".") if path else ():
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        if tensor.is_floating_point():
            module.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
        else:
            module.register_buffer(last, tensor)
    except (KeyError, AttributeError) as error:
        raise ResultFileError(f"model: '{name}' cannot be the name of a tensor: {error}.") from error
