"""How the weights of models differ, module by module.

The tables of the store know every model's own zeros and its change against its parent. For any other two models the
saved weights are read, where they are there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa

from cc_ray.compare.asking import AMONG, Row, comparable, known, marks, rows
from cc_ray.store.layout import Layout
from cc_ray.store.weights import Weight, read_weights
from cc_ray.views import Views

NODE: Final = pa.schema(
    {
        "path": pa.string(),
        "parent": pa.string(),
        "name": pa.string(),
        "depth": pa.int32(),
        "module": pa.string(),
        "leaf": pa.bool_(),
        "model_id": pa.string(),
        "tensors": pa.int64(),
        "parameters": pa.int64(),
        "zeros": pa.int64(),
        "sparsity": pa.float64(),
        "effective_bits": pa.float64(),
        "mean_absolute": pa.float64(),
        "base_parameters": pa.int64(),
        "base_sparsity": pa.float64(),
        "unmatched_parameters": pa.int64(),
        "zeros_both": pa.int64(),
        "zeros_base_only": pa.int64(),
        "zeros_model_only": pa.int64(),
        "relative_change": pa.float64(),
        "sqnr_db": pa.float64(),
    }
)


@dataclass(frozen=True)
class TensorChange:
    """What two models' values of one tensor have in common."""

    zeros_both: int
    """Number of values that are zero in both."""
    square_change: float
    """Sum of squares of the differences."""


def layer_tree(views: Views, ids: Iterable[str], base: str) -> pa.Table:
    """The module tree of models, with what differs from a base; inner modules are sums over all below them.

    A row per module path and model that has it, the base's rows included; sorted by path, the base first. Columns:

    - path, parent (null at the root, whose path is empty), name, depth, module (class; empty for inner modules),
      leaf (it holds tensors of its own), model_id;
    - tensors, parameters, zeros, sparsity, effective_bits (on disk, per value), mean_absolute (L1 per value);
    - base_parameters, base_sparsity (of the base's same-named tensors; null where it has none), unmatched_parameters
      (values in tensors that the base does not have in this shape);
    - over the tensors that match: zeros_both, zeros_base_only, zeros_model_only, relative_change
      (||model - base|| / ||base||), sqnr_db (20 log10 of its inverse; null when equal); null where no tensor matches,
      or where the base is not the parent and a model's saved weights are not there.

    Args:
        views: The store.
        ids: Models, in the order of the answer's rows.
        base: Model that they are compared with.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks.
        StoreError: If saved weights are damaged.
    """
    models = list(dict.fromkeys([base, *comparable(views, ids, base)]))
    below: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for tensor in _tensors(views, models, base):
        for path in _prefixes(tensor["layer"]):
            below[path, tensor["model_id"]].append(tensor)
    position = {model_id: index for index, model_id in enumerate(models)}
    order = sorted(below, key=lambda key: (_natural(key[0]), position[key[1]]))
    return pa.Table.from_pylist([_node(path, model_id, below[path, model_id]) for path, model_id in order], NODE)


def most_changed_layers(views: Views, model: str, base: str, limit: int = 10) -> pa.Table:
    """The modules with tensors of their own that differ most from a base's.

    They are ranked by relative change; where the shape differs, by the share of the base's values that are gone; where
    neither is known, by the change of sparsity. Unchanged ones are left out. Columns as `layer_tree`.

    Args:
        views: The store.
        model: Model.
        base: Model that it is compared with.
        limit: Number of rows at most.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks.
        StoreError: If saved weights are damaged.
    """
    return most_changed_of_each(views, [model], base, limit)


def most_changed_of_each(views: Views, ids: Iterable[str], base: str, limit: int = 10) -> pa.Table:
    """As `most_changed_layers`, for several models, one after the other."""
    models = known(views, ids)
    own: dict[str, list[Row]] = {model_id: [] for model_id in models}
    for node in layer_tree(views, models, base).to_pylist():
        if node["leaf"] and node["model_id"] in own and _changed(node) > 0:
            own[node["model_id"]].append(node)
    ranked = (sorted(nodes, key=lambda node: (-_changed(node), _natural(node["path"]))) for nodes in own.values())
    return pa.Table.from_pylist([node for nodes in ranked for node in nodes[:limit]], NODE)


def tensor_changes(weights: Mapping[str, Weight], base: Mapping[str, Weight]) -> dict[str, TensorChange]:
    """Compare the tensors that two models have under one name and in one shape, one at a time."""
    found = {}
    for name in weights:
        if name in base:
            mine, theirs = weights[name].values, base[name].values
            if mine.shape == theirs.shape:
                found[name] = TensorChange(
                    int(np.count_nonzero((mine == 0) & (theirs == 0))),
                    float(np.square(mine.astype(np.float64) - theirs).sum()),
                )
    return found


def _tensors(views: Views, models: Sequence[str], base: str) -> Iterator[Row]:
    text = f"SELECT * FROM layer_pairs WHERE base_id = ? AND model_id IN {marks(models)}"
    by_model: dict[str, list[Row]] = defaultdict(list)
    for row in rows(views, text, [base, *models]):
        by_model[row["model_id"]].append(row)
    digests = _artifacts(views, models)
    for model_id, tensors in by_model.items():
        read = _read(views.layout, digests[model_id], digests[base]) if any(map(_unknown, tensors)) else {}
        for row in tensors:
            change = read.get(f"{row['layer']}.{row['tensor']}".lstrip("."))
            yield row if change is None else {**row, **vars(change)}


def _unknown(row: Row) -> bool:
    return bool(row["matched"]) and (row["zeros_both"] is None or row["square_change"] is None)


def _artifacts(views: Views, models: Sequence[str]) -> dict[str, str]:
    found = rows(views, f"SELECT model_id, artifact FROM models WHERE model_id {AMONG}", [models])
    return {row["model_id"]: row["artifact"] for row in found}


def _read(layout: Layout, digest: str, base: str) -> Mapping[str, TensorChange]:
    if not (layout.artifact(digest).exists() and layout.artifact(base).exists()):
        return {}
    return _read_both(layout, digest, base)


@lru_cache(maxsize=512)
def _read_both(layout: Layout, digest: str, base: str) -> Mapping[str, TensorChange]:
    # A file's name is its content, so an answer once given stays right.
    return tensor_changes(read_weights(layout, digest), read_weights(layout, base))


def _prefixes(path: str) -> Iterator[str]:
    yield ""
    for end, sign in enumerate(path):
        if sign == ".":
            yield path[:end]
    if path:
        yield path


def _natural(path: str) -> list[tuple[int, str]]:
    """Sort key under which `blocks.10` comes after `blocks.9`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.split(".")] if path else []


def _node(path: str, model_id: str, tensors: Sequence[Row]) -> Row:
    own = [row for row in tensors if row["layer"] == path]
    parent, _, name = path.rpartition(".")
    parameters = sum(row["parameters"] for row in tensors)
    return {
        "path": path,
        "parent": parent if path else None,
        "name": name,
        "depth": path.count(".") + 1 if path else 0,
        "module": own[0]["module"] if own else "",
        "leaf": bool(own),
        "model_id": model_id,
        "tensors": len(tensors),
        "parameters": parameters,
        "zeros": sum(row["zeros"] for row in tensors),
        "sparsity": _share(sum(row["zeros"] for row in tensors), parameters),
        "effective_bits": _share(sum(row["bits"] for row in tensors), parameters),
        "mean_absolute": _share(sum(row["l1"] for row in tensors), parameters),
        **_against_base(tensors),
    }


def _against_base(tensors: Sequence[Row]) -> Row:
    there = [row for row in tensors if row["base_parameters"] is not None]
    matched = [row for row in tensors if row["matched"]]
    both, change = _sum(matched, "zeros_both"), _sum(matched, "square_change")
    relative = None if change is None else _root(_share(change, sum(row["base_square"] for row in matched)))
    base_parameters = sum(row["base_parameters"] for row in there)
    return {
        "base_parameters": base_parameters if there else None,
        "base_sparsity": _share(sum(row["base_zeros"] for row in there), base_parameters),
        "unmatched_parameters": sum(row["parameters"] for row in tensors if not row["matched"]),
        "zeros_both": both,
        "zeros_base_only": None if both is None else sum(row["base_zeros"] for row in matched) - both,
        "zeros_model_only": None if both is None else sum(row["zeros"] for row in matched) - both,
        "relative_change": relative,
        "sqnr_db": None if not relative else -20 * math.log10(relative),
    }


def _sum(tensors: Sequence[Row], name: str) -> float | None:
    values = [row[name] for row in tensors]
    return None if not values or None in values else sum(values)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _root(square: float | None) -> float | None:
    return None if square is None else math.sqrt(square)


def _changed(node: Row) -> float:
    if node["relative_change"] is not None and not node["unmatched_parameters"]:
        return float(node["relative_change"])
    if node["unmatched_parameters"]:
        whole = node["base_parameters"]
        return abs(1 - float(node["parameters"]) / whole) if whole else 1.0
    return abs(float(node["sparsity"] or 0) - float(node["base_sparsity"] or 0))
