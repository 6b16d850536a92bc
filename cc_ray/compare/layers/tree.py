"""How the weights of models differ, module by module.

The tables of the store know every model's own zeros and its change against its parent. For any other two models the
saved weights are read, where they are there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import pyarrow as pa

from cc_ray.compare.asking import Row, comparable, known, marks, rows
from cc_ray.compare.layers import saved_weights
from cc_ray.compare.layers.counterparts import Counterpart, Counterparts, tensor_name
from cc_ray.compare.layers.module_paths import above, matching, natural, node
from cc_ray.compare.layers.saved_weights import Beside, Wanted, artifacts, compared
from cc_ray.compare.layers.weight_changes import tally
from cc_ray.compare.layers.zeros import zeros
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
        "removed_parameters": pa.int64(),
        "zeros_both": pa.int64(),
        "zeros_base_only": pa.int64(),
        "zeros_model_only": pa.int64(),
        "relative_change": pa.float64(),
        "sqnr_db": pa.float64(),
    }
)


ZERO_OVERLAP: Final = [
    "path", "parent", "name", "depth", "module", "leaf", "model_id", "parameters", "zeros", "base_parameters",
    "base_sparsity", "unmatched_parameters", "removed_parameters", "zeros_both", "zeros_base_only", "zeros_model_only",
]  # fmt: skip


def layer_tree(views: Views, ids: Iterable[str], base: str, *, pattern: str = "") -> pa.Table:
    """The module tree of models, with what differs from a base; inner modules are sums over all below them.

    A row per module path and model that has it, the base's rows included; sorted by path, the base first. Columns:

    - path, parent (null at the root, whose path is empty), name, depth, module (class; empty for inner modules),
      leaf (it holds tensors of its own), model_id;
    - tensors, parameters, zeros, sparsity, effective_bits (on disk, per value), mean_absolute (L1 per value);
    - base_parameters, base_sparsity (of the base's same-named tensors; null where it has none), unmatched_parameters
      (values that have no counterpart in the base), removed_parameters (the base's values that have none in the model);
    - over the values that match: zeros_both, zeros_base_only, zeros_model_only, relative_change
      (||model - base|| / ||base||), sqnr_db (20 log10 of its inverse; null when equal); null where none matches,
      or where the base is not the parent and a model's saved weights are not there.

    Where channels were removed, what is left is matched as `layers.kept` tells, along the lineage.

    Args:
        views: The store.
        ids: Models, in the order of the answer's rows.
        base: Model that they are compared with.
        pattern: Only the topmost modules in whose path this regular expression is found, upper and lower case alike.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks.
        StoreError: If saved weights are damaged.
        QueryError: If the pattern is none.
    """
    return pa.Table.from_pylist(_nodes(views, ids, base, pattern, ("zeros", "values")), NODE)


def zero_overlap(views: Views, ids: Iterable[str], base: str, *, pattern: str = "") -> pa.Table:
    """Which zeros models share with any base, by module; as `layer_tree`, without reading more than the masks need.

    Rows and columns as `layer_tree`, of the columns those of `ZERO_OVERLAP`.

    Args:
        views: The store.
        ids: Models, in the order of the answer's rows.
        base: Model that they are compared with.
        pattern: As for `layer_tree`.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks.
        StoreError: If saved weights are damaged.
        QueryError: If the pattern is none.
    """
    return pa.Table.from_pylist(_nodes(views, ids, base, pattern, ("zeros",)), NODE).select(ZERO_OVERLAP)


def most_changed_layers(views: Views, model: str, base: str, limit: int = 10) -> pa.Table:
    """The modules with tensors of their own that differ most from a base's.

    They are ranked by relative change; where the shape differs, by the share of the base's values that are gone, and
    modules that only one of both has come first; where neither is known, by the change of sparsity. Unchanged ones are
    left out. Columns as `layer_tree`; a module that the model lacks has no parameters, and the base's class.

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
    nodes = _nodes(views, models, base, "", ("zeros", "values"))
    for found in (*nodes, *_gone(nodes, models, base)):
        if found["leaf"] and found["model_id"] in own and _changed(found) > 0:
            own[found["model_id"]].append(found)
    ranked = (sorted(nodes, key=lambda node: (-_changed(node), natural(node["path"]))) for nodes in own.values())
    return pa.Table.from_pylist([node for nodes in ranked for node in nodes[:limit]], NODE)


def _gone(nodes: Sequence[Row], models: Sequence[str], base: str) -> list[Row]:
    """Rows of the modules that a model lacks and its base has: nothing matches, all is removed."""
    there = {(row["path"], row["model_id"]) for row in nodes}
    return [
        _node(row["path"], model_id, [], row["parameters"]) | {"module": row["module"], "leaf": row["leaf"]}
        for row in nodes
        for model_id in models
        if row["model_id"] == base and (row["path"], model_id) not in there
    ]


def _nodes(views: Views, ids: Iterable[str], base: str, pattern: str, kinds: Sequence[Kind]) -> list[Row]:
    models = list(dict.fromkeys([base, *comparable(views, ids, base)]))
    below: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for tensor in _tensors(views, models, base, kinds):
        for path in above(tensor["layer"]):
            below[path, tensor["model_id"]].append(tensor)
    shown = {path for path, _ in below}
    if pattern:
        shown = set(matching(views, shown, pattern))
    whole = {
        path: sum(row["parameters"] for row in held) for (path, model_id), held in below.items() if model_id == base
    }
    position = {model_id: index for index, model_id in enumerate(models)}
    order = sorted((key for key in below if key[0] in shown), key=lambda key: (natural(key[0]), position[key[1]]))
    return [_node(path, model_id, below[path, model_id], whole.get(path, 0)) for path, model_id in order]


def _tensors(views: Views, models: Sequence[str], base: str, kinds: Sequence[Kind]) -> list[Row]:
    """Rows of `layer_pairs`; what belongs together is found by lineage, and what the tables cannot tell is read.

    Each has besides: compared (number of values that match), and of those own_zeros, base_zeros_matched,
    base_square_matched.
    """
    text = f"SELECT * FROM layer_pairs WHERE base_id = ? AND model_id IN {marks(models)}"
    pairs = rows(views, text, [base, *models])
    shapes, counterparts = saved_weights.shapes(views, models), Counterparts(views, models, base)
    for row in pairs:
        name, model_id = tensor_name(row), row["model_id"]
        theirs = shapes[base].get(name)
        row["how"] = theirs is not None and counterparts.of(model_id, name, shapes[model_id][name], theirs)
        row.update(_from_tables(row))
    for kind in kinds:
        _read(views, models, base, kind, [row for row in pairs if row["compared"] and row[_TOLD_BY[kind]] is None])
    return pairs


Kind = Literal["zeros", "values"]
_TOLD_BY: Final[dict[Kind, str]] = {"zeros": "zeros_both", "values": "square_change"}
"""The column that is null until something is read."""


def _from_tables(row: Row) -> Row:
    how = row["how"]
    if how is True:
        of = {
            "own_zeros": row["zeros"],
            "base_zeros_matched": row["base_zeros"],
            "base_square_matched": row["base_square"],
        }
        return {"compared": row["parameters"], **of}
    empty = dict.fromkeys(("own_zeros", "base_zeros_matched", "base_square_matched", "zeros_both", "square_change"))
    return {"compared": how.size if isinstance(how, Counterpart) else 0, **empty}


def _read(views: Views, models: Sequence[str], base: str, kind: Kind, tensors: Sequence[Row]) -> None:
    """Read the saved weights for what is null in these rows, unless it was read before."""
    digests = artifacts(views, models)
    key = {
        model_id: (str(views.root), base, model_id, digests.get(base), digest, kind)
        for model_id, digest in digests.items()
    }
    open_ones = [row for row in tensors if base in digests and row["model_id"] in digests]
    missing: dict[str, dict[str, Counterpart | bool]] = defaultdict(dict)
    for row in open_ones:
        if tensor_name(row) not in _remembered.get(key[row["model_id"]], {}):
            missing[tensor_name(row)][row["model_id"]] = row["how"]
    involved = {base, *(model_id for asked in missing.values() for model_id in asked)}
    if missing:
        wanted = [Wanted(name, asked) for name, asked in missing.items()]
        chosen = {model_id: digests[model_id] for model_id in involved}
        fresh: dict[str, dict[str, list[float]]] = defaultdict(dict)
        for name, found_by, answers in compared(views.layout, chosen, base, wanted, _WORK[kind]):
            for model_id, answer in zip(found_by, answers, strict=True):
                before = fresh[model_id].get(name, [0] * len(answer))
                fresh[model_id][name] = [sum(both) for both in zip(before, answer, strict=True)]
        for model_id, found in fresh.items():
            _remembered[key[model_id]] = {**_remembered.get(key[model_id], {}), **found}
    for row in open_ones:
        row.update(zip(_GIVES[kind], _remembered[key[row["model_id"]]][tensor_name(row)], strict=True))
    while len(_remembered) > REMEMBERED:
        _remembered.pop(next(iter(_remembered)))


REMEMBERED: Final = 4_096
"""Pairs of models whose common values are not read again."""
# A saved model's content never changes, so an answer once given stays right.
_remembered: dict[tuple[Any, ...], dict[str, list[float]]] = {}


def _values(name: str, beside: Beside, start: int, stop: int) -> list[tuple[float, float]]:
    return [(float(numbers[4]), float(numbers[5])) for _, numbers, _ in tally(beside, start, stop, [])]


def _zeros(name: str, beside: Beside, start: int, stop: int) -> list[tuple[int, int, int]]:
    return zeros(beside, start, stop)


_WORK: Final[dict[Kind, Any]] = {"zeros": _zeros, "values": _values}
_GIVES: Final[dict[Kind, tuple[str, ...]]] = {
    "zeros": ("zeros_both", "base_zeros_matched", "own_zeros"),
    "values": ("square_change", "base_square_matched"),
}


def _node(path: str, model_id: str, tensors: Sequence[Row], base_parameters: int) -> Row:
    own = [row for row in tensors if row["layer"] == path]
    parameters = sum(row["parameters"] for row in tensors)
    return {
        **node(path),
        "module": own[0]["module"] if own else "",
        "leaf": bool(own),
        "model_id": model_id,
        "tensors": len(tensors),
        "parameters": parameters,
        "zeros": sum(row["zeros"] for row in tensors),
        "sparsity": _share(sum(row["zeros"] for row in tensors), parameters),
        "effective_bits": _share(sum(row["bits"] for row in tensors), parameters),
        "mean_absolute": _share(sum(row["l1"] for row in tensors), parameters),
        **_against_base(tensors, base_parameters),
    }


def _against_base(tensors: Sequence[Row], whole: int) -> Row:
    there = [row for row in tensors if row["base_parameters"] is not None]
    matched = [row for row in tensors if row["compared"]]
    both, change = _sum(matched, "zeros_both"), _sum(matched, "square_change")
    relative = None if change is None else _root(_share(change, _sum(matched, "base_square_matched") or 0))
    base_parameters = sum(row["base_parameters"] for row in there)
    in_common = sum(row["compared"] for row in matched)
    return {
        "base_parameters": base_parameters if there else None,
        "base_sparsity": _share(sum(row["base_zeros"] for row in there), base_parameters),
        "unmatched_parameters": sum(row["parameters"] for row in tensors) - in_common,
        "removed_parameters": whole - in_common,
        "zeros_both": both,
        "zeros_base_only": None if both is None else (_sum(matched, "base_zeros_matched") or 0) - both,
        "zeros_model_only": None if both is None else (_sum(matched, "own_zeros") or 0) - both,
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
    if not node["parameters"] and node["removed_parameters"]:
        return 1.0
    if node["relative_change"] is not None and not node["unmatched_parameters"]:
        return float(node["relative_change"])
    if node["unmatched_parameters"]:
        whole = node["base_parameters"]
        return abs(1 - float(node["parameters"]) / whole) if whole else 1.0
    return abs(float(node["sparsity"] or 0) - float(node["base_sparsity"] or 0))
