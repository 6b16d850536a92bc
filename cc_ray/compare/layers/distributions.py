"""How weights and activations of models are distributed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import Row, known, marks, rows
from cc_ray.compare.layers.module_paths import natural
from cc_ray.views import Views

Floats = NDArray[np.float64]

BINS: Final = 60
"""Bins of an answer, over the range of all its models."""

_SCHEMA: Final = pa.schema(
    {
        "model_id": pa.string(),
        "low": pa.float64(),
        "high": pa.float64(),
        "count": pa.float64(),
        "share": pa.float64(),
    }
)

_ACTIVATION_HISTOGRAMS: Final = pa.schema(
    {
        "path": pa.string(),
        "module": pa.string(),
        "model_id": pa.string(),
        "mean": pa.float64(),
        "std": pa.float64(),
        "zeros": pa.float64(),
        "edges": pa.list_(pa.float64()),
        "shares": pa.list_(pa.float64()),
    }
)


def weight_distribution(views: Views, ids: Iterable[str], path: str = "") -> pa.Table:
    """How many weights lie where, the zeros left out: they would hide the others, and sparsity tells them.

    Tensors' stored histograms are summed over common bins; a stored bin that lies across two of them is split as if its
    values were spread evenly. Only tensors called `weight` count.

    Columns: model_id, low, high (edges of the bin), count (expected number of non-zero values), share (of the model's
    non-zero values here). `BINS` rows a model, in the order of the ids; none for a model without such a module.

    Args:
        views: The store.
        ids: Models.
        path: Module whose weights are meant, with all below it; "" for the whole model.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    wanted = known(views, ids)
    text = f"""
        SELECT model_id, zeros, histogram, histogram_edges
        FROM layers
        WHERE model_id IN {marks(wanted)} AND tensor = 'weight'
            AND (? = '' OR layer = ? OR starts_with(layer, ? || '.'))
    """
    tensors: dict[str, list[Row]] = defaultdict(list)
    for row in rows(views, text, [*wanted, path, path, path]):
        tensors[row["model_id"]].append(row)
    edges = _common_edges([row for found in tensors.values() for row in found])
    found = [row for id in wanted if id in tensors for row in _binned(id, tensors[id], edges)]
    return pa.Table.from_pylist(found, _SCHEMA)


def activation_distribution(views: Views, ids: Iterable[str], path: str) -> pa.Table:
    """How many of a module's outputs lie where, over the stored sample of instances, zeros too.

    Models' stored histograms are brought to common bins; a stored bin that lies across two of them is split as if its
    values were spread evenly.

    Columns: model_id, low, high (edges of the bin), count (expected number of outputs), share (of the model's outputs
    here). `BINS` rows a model, in the order of the ids; none for a model without such a module.

    Args:
        views: The store.
        ids: Models.
        path: Module whose own outputs are meant.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    wanted = known(views, ids)
    text = f"""
        SELECT model_id, 0 AS zeros, histogram, histogram_edges
        FROM activations
        WHERE model_id IN {marks(wanted)} AND layer = ?
    """
    outputs = {row["model_id"]: row for row in rows(views, text, [*wanted, path])}
    edges = _common_edges(list(outputs.values()))
    found = [row for id in wanted if id in outputs for row in _binned(id, [outputs[id]], edges)]
    return pa.Table.from_pylist(found, _SCHEMA)


def activation_histograms(views: Views, ids: Iterable[str], path: str = "") -> pa.Table:
    """How the outputs of models' modules are distributed over the stored sample of instances, module by module.

    A row per innermost module and model that has it, by path, the models in the order of the ids. A module's bins are
    common to its models, as `activation_distribution` has them. Columns:

    - path, module (class), model_id, mean, std, zeros (share of outputs that are exactly zero);
    - edges (of the `BINS` bins; one more than bins), shares (of the model's outputs here, by bin).

    Args:
        views: The store.
        ids: Models.
        path: Module that is meant, with all below it; "" for the whole model.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    wanted = known(views, ids)
    text = f"""
        SELECT layer AS path, module, model_id, mean, std, zeros AS zero_share, 0 AS zeros, histogram, histogram_edges
        FROM activations
        WHERE model_id IN {marks(wanted)} AND (? = '' OR layer = ? OR starts_with(layer, ? || '.'))
    """
    modules: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows(views, text, [*wanted, path, path, path]):
        modules[row["path"]][row["model_id"]] = row
    found = [row for own in sorted(modules, key=natural) for row in _side_by_side(modules[own], wanted)]
    return pa.Table.from_pylist(found, _ACTIVATION_HISTOGRAMS)


def _side_by_side(outputs: dict[str, Row], models: Sequence[str]) -> Iterator[Row]:
    """One module's histograms in bins that all its models share."""
    edges = _common_edges(list(outputs.values()))
    for model_id in models:
        if model_id in outputs:
            row = outputs[model_id]
            counts = _rebinned(row, edges)
            yield row | {"zeros": row["zero_share"], "edges": edges, "shares": counts / (counts.sum() or 1.0)}


def _common_edges(tensors: Sequence[Row]) -> Floats:
    low = min((row["histogram_edges"][0] for row in tensors), default=0.0)
    high = max((row["histogram_edges"][-1] for row in tensors), default=1.0)
    return np.linspace(low, high, BINS + 1)


def _binned(model_id: str, tensors: Sequence[Row], edges: Floats) -> list[Row]:
    counts = np.sum([_rebinned(row, edges) for row in tensors], axis=0)
    whole = counts.sum() or 1.0
    return [
        {"model_id": model_id, "low": low, "high": high, "count": count, "share": count / whole}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]


def _rebinned(tensor: Row, edges: Floats) -> Floats:
    counts, own = np.array(tensor["histogram"], float), np.array(tensor["histogram_edges"], float)
    zero = int(np.clip(np.searchsorted(own, 0.0, side="right") - 1, 0, len(counts) - 1))
    counts[zero] = max(0.0, counts[zero] - tensor["zeros"])
    running = np.concatenate([[0.0], np.cumsum(counts)])
    return np.diff(np.interp(edges, own, running))
