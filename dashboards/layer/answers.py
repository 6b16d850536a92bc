"""What several views ask of compare, remembered while it is looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import pyarrow as pa

from cc_ray import compare
from cc_ray.views import Views
from dashboards.layer.tree import Tree
from dashboards.snapshot import Row

KEPT: Final = 12
"""Answers of each kind that are remembered for all tabs."""

Nodes = Mapping[str, Mapping[str, Row]]
"""Rows by path and model."""


@lru_cache(KEPT)
def module_tree(views: Views, ids: tuple[str, ...], base: str) -> Tree:
    """The rows of `compare.layer_tree`, as a tree."""
    return Tree.of(compare.layer_tree(views, ids or (base,), base).to_pylist())


@lru_cache(KEPT)
def weights(views: Views, ids: tuple[str, ...], base: str) -> Nodes:
    """The rows of `compare.weight_changes`, the base's too."""
    return _by_path(compare.weight_changes(views, ids or (base,), base))


@lru_cache(KEPT)
def outputs(views: Views, ids: tuple[str, ...], base: str) -> Nodes:
    """The rows of `compare.activation_histograms`, with those of `compare.activation_changes` of all but the base."""
    drawn = _by_path(compare.activation_histograms(views, (base, *ids)))
    changes = _by_path(compare.activation_changes(views, ids, base)) if ids else {}
    return _joined(drawn, changes)


@lru_cache(KEPT)
def output_changes(views: Views, ids: tuple[str, ...], base: str) -> Nodes:
    """The rows of `compare.activation_changes`."""
    return _by_path(compare.activation_changes(views, ids, base))


def weights_of(views: Views, model: str, base: str, path: str) -> Nodes:
    """The rows of `compare.weight_changes` of one module, those below it and one model."""
    return _by_path(compare.weight_changes(views, (model,), base, path))


def outputs_of(views: Views, ids: tuple[str, ...], base: str, path: str) -> Nodes:
    """As `outputs`, of one module."""
    drawn = _by_path(compare.activation_histograms(views, (base, *ids), path))
    pattern = f"^{re.escape(path)}$"
    changes = _by_path(compare.activation_changes(views, ids, base, pattern=pattern)) if ids and path in drawn else {}
    return _joined(drawn, changes)


def _joined(drawn: Nodes, changes: Nodes) -> Nodes:
    return {
        path: {id: row | changes.get(path, {}).get(id, {}) for id, row in models.items()}
        for path, models in drawn.items()
    }


def _by_path(table: pa.Table) -> Nodes:
    found: dict[str, dict[str, Row]] = {}
    for row in table.to_pylist():
        found.setdefault(row["path"], {})[row["model_id"]] = row
    return found
