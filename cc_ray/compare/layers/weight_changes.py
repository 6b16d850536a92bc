"""How far the weights of models moved from a base's, module by module, and which weights those are.

The saved weights of any two models are read block by block, the base's once for all; memory holds a few blocks.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from cc_ray.compare.asking import Row, comparable, marks, rows
from cc_ray.compare.layers.counterparts import Counterpart, Counterparts, tensor_name
from cc_ray.compare.layers.module_paths import above, matching, natural, node, within
from cc_ray.compare.layers.saved_weights import Beside, Wanted, artifacts, compared
from cc_ray.compare.layers.value_bins import Bins, central, grouped, stored
from cc_ray.compare.layers.value_changes import NUMBERS, STEPS, Cells, Counts, Doubles, add_changes
from cc_ray.store.blocks import BLOCK
from cc_ray.views import Views

BinsByTensor = Mapping[str, list[tuple[Bins, list[Bins]]]]

BANDS: Final = tuple(step / STEPS for step in range(STEPS + 1))
"""Lower edges of the bands of relative change |model - base| / |base|: 0, 0.2, ... 1; the last has no upper edge.

A change that is on an edge to 12 digits counts as on it (`value_changes.ON_EDGE`).
"""

WEIGHT_CHANGES: Final = pa.schema(
    {
        "path": pa.string(),
        "parent": pa.string(),
        "name": pa.string(),
        "depth": pa.int32(),
        "module": pa.string(),
        "leaf": pa.bool_(),
        "model_id": pa.string(),
        "parameters": pa.int64(),
        "base_parameters": pa.int64(),
        "compared": pa.int64(),
        "unmatched": pa.int64(),
        "removed": pa.int64(),
        "not_finite": pa.int64(),
        "sum_absolute": pa.float64(),
        "sum_square": pa.float64(),
        "sum_absolute_change": pa.float64(),
        "sum_square_change": pa.float64(),
        "mean_absolute": pa.float64(),
        "mean_absolute_change": pa.float64(),
        "relative_change": pa.float64(),
        "sqnr_db": pa.float64(),
        "bands": pa.list_(pa.int64()),
        "edges": pa.list_(pa.float64()),
        "histogram": pa.list_(pa.int64()),
    }
)


def weight_changes(
    views: Views, ids: Iterable[str], base: str, path: str = "", *, every: bool = False, pattern: str = ""
) -> pa.Table:
    """How the weights of models differ from a base's; inner modules are sums over all below them.

    A row per module path and model, the base's rows first at each path; a module that a model lacks has a row with
    nulls. Sorted by path. Columns:

    - path, parent (null at the root of the model, whose path is empty), name, depth, module (class; empty for inner
      modules), leaf (it holds tensors of its own), model_id;
    - parameters (the model's values; null where it has no such module), base_parameters (the base's), compared (values
      that have a counterpart in the base), unmatched (the model's others), removed (the base's others), not_finite
      (of the compared ones, those that are NaN or infinite in either; left out of all that follows);
    - over the compared values m of the model and b of the base, in double precision: sum_absolute (of |m|),
      sum_square (m^2), sum_absolute_change (|m - b|), sum_square_change ((m - b)^2), mean_absolute (L1 per value),
      mean_absolute_change, relative_change (||m - b|| / ||b||; null where b is all zeros and m is not), sqnr_db
      (20 log10 of its inverse; null when equal);
    - bands: values by relative change |m - b| / |b|, in `BANDS`, the lower edge included: 0/0 counts as 0, and x/0 as
      more; histogram: values by bin of m and band, row after row, bins times bands; edges: of the bins, one more than
      bins. The bins are the module's own, the same for all models; the outer ones hold what lies beyond, too.

    Where channels were removed, what is left is matched as `layers.kept` tells, along the lineage. All columns of
    comparison are null where a model's saved weights, or the base's, are not there.

    Args:
        views: The store.
        ids: Models.
        base: Model that they are compared with; any model.
        path: Module that is meant, with all below it; "" for the whole model.
        every: All tensors, biases too; else only those called `weight`.
        pattern: Only the topmost modules in whose path this regular expression is found, upper and lower case alike.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks.
        StoreError: If saved weights are damaged.
        QueryError: If the pattern is none.
    """
    models = list(dict.fromkeys([base, *comparable(views, ids, base)]))
    tensors = _tensors(views, models, path, every)
    paths = {up for held in tensors.values() for row in held.values() for up in above(row["layer"]) if within(up, path)}
    if pattern:
        paths = set(matching(views, paths, pattern))
    modules = _modules(tensors, paths)
    _tally(views, tensors, modules, base)
    order = sorted(modules, key=natural)
    return pa.Table.from_pylist([modules[up].row(model_id) for up in order for model_id in models], WEIGHT_CHANGES)


@dataclass
class Sums:
    """What is added up over the values that two models have in common."""

    compared: int = 0
    numbers: Doubles = field(default_factory=lambda: np.zeros(len(NUMBERS)))
    counts: Counts | None = None

    def add(self, compared: int, numbers: Doubles, counts: Counts) -> None:
        """Add those of a tensor, or a piece of it."""
        self.compared += compared
        self.numbers += numbers
        self.counts = counts.copy() if self.counts is None else self.counts + counts


@dataclass
class Module:
    """One module of all models: its tensors and what was added up over them."""

    path: str
    base: str
    bins: Bins
    tensors: dict[str, list[Row]]
    """Rows of `layers` by model."""
    sums: dict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    read: set[str] = field(default_factory=set)
    """Models whose saved weights are there, with the base's."""

    def row(self, model_id: str) -> Row:
        """A row of `WEIGHT_CHANGES`."""
        found = self.tensors.get(model_id, [])
        own = [row for held in self.tensors.values() for row in held if row["layer"] == self.path]
        base = sum(row["parameters"] for row in self.tensors.get(self.base, []))
        mine = sum(row["parameters"] for row in found)
        head = {
            **node(self.path),
            "module": own[0]["module"] if own else "",
            "leaf": bool(own),
            "model_id": model_id,
            "parameters": mine if found else None,
            "base_parameters": base if self.base in self.tensors else None,
        }
        if model_id not in self.read:
            return head
        sums = self.sums[model_id]
        left = {"compared": sums.compared, "unmatched": mine - sums.compared, "removed": base - sums.compared}
        return head | left | (_measures(sums, self.bins) if sums.counts is not None else {})


def _measures(sums: Sums, bins: Bins) -> Row:
    numbers = dict(zip(NUMBERS, sums.numbers.tolist(), strict=True))
    square, count = numbers.pop("base_square"), sums.compared - int(numbers["not_finite"])
    noise = math.sqrt(numbers["sum_square_change"])
    relative = noise / math.sqrt(square) if square else (0.0 if not noise else None)
    assert sums.counts is not None
    return {
        **numbers,
        "not_finite": int(numbers["not_finite"]),
        "mean_absolute": numbers["sum_absolute"] / count if count else None,
        "mean_absolute_change": numbers["sum_absolute_change"] / count if count else None,
        "relative_change": relative,
        "sqnr_db": -20 * math.log10(relative) if relative else None,
        "bands": sums.counts.sum(axis=0).tolist(),
        "edges": bins.edges,
        "histogram": sums.counts.ravel().tolist(),
    }


def _tensors(views: Views, models: Sequence[str], path: str, every: bool) -> dict[str, dict[str, Row]]:
    """Rows of `layers` by model and name of the tensor."""
    text = f"""
        SELECT model_id, layer, tensor, module, shape, parameters, "min", "max", histogram, histogram_edges
        FROM layers
        WHERE model_id IN {marks(models)} AND (? OR tensor = 'weight')
            AND (? = '' OR layer = ? OR starts_with(layer, ? || '.'))
    """
    found: dict[str, dict[str, Row]] = {model_id: {} for model_id in models}
    for row in rows(views, text, [*models, every, path, path, path]):
        found[row["model_id"]][tensor_name(row)] = row
    return found


def _modules(tensors: Mapping[str, Mapping[str, Row]], paths: set[str]) -> dict[str, Module]:
    base = next(iter(tensors))
    below: dict[str, dict[str, list[Row]]] = {path: defaultdict(list) for path in paths}
    for model_id, held in tensors.items():
        for row in held.values():
            for path in above(row["layer"]):
                if path in below:
                    below[path][model_id].append(row)
    return {
        path: Module(path, base, central(*stored([row for held in found.values() for row in held])), dict(found))
        for path, found in below.items()
    }


def _tally(views: Views, tensors: Mapping[str, Mapping[str, Row]], modules: Mapping[str, Module], base: str) -> None:
    """Read the saved weights and add up what they have in common."""
    digests = artifacts(views, list(tensors))
    if base not in digests:
        return
    for module in modules.values():
        module.read = set(digests)
    wanted = _wanted(views, tensors, modules, list(digests), base)
    layer = {name: row["layer"] for held in tensors.values() for name, row in held.items()}
    up = {path: [modules[p] for p in above(path) if p in modules] for path in set(layer.values())}
    bins = {tensor.name: grouped(module.bins for module in up[layer[tensor.name]]) for tensor in wanted}

    def work(name: str, beside: Beside, start: int, stop: int) -> list[tuple[int, Doubles, list[Counts]]]:
        return tally(beside, start, stop, [fine for fine, _ in bins[name]])

    for name, models, found in compared(views.layout, digests, base, wanted, work):
        for model_id, (count, numbers, counts) in zip(models, found, strict=True):
            for module in up[layer[name]]:
                fine, whole = next(
                    (fine, whole)
                    for (fine, served), whole in zip(bins[name], counts, strict=True)
                    if module.bins in served
                )
                module.sums[model_id].add(count, numbers, module.bins.gathered(whole, fine))


def _wanted(
    views: Views,
    tensors: Mapping[str, Mapping[str, Row]],
    modules: Mapping[str, Module],
    models: Sequence[str],
    base: str,
) -> list[Wanted]:
    matched = Counterparts(views, models, base)
    found = []
    for name, theirs in tensors[base].items():
        if any(path in modules for path in above(theirs["layer"])):
            same = {
                model_id: matched.of(model_id, name, tuple(tensors[model_id][name]["shape"]), tuple(theirs["shape"]))
                for model_id in models
                if name in tensors[model_id]
            }
            found.append(Wanted(name, {model_id: how for model_id, how in same.items() if _some(how)}))
    return found


def _some(how: Counterpart | bool) -> bool:
    return how.size > 0 if isinstance(how, Counterpart) else how


def tally(beside: Beside, start: int, stop: int, bins: Sequence[Bins]) -> list[tuple[int, Doubles, list[Counts]]]:
    """Add up a piece of the values of models beside a base's.

    Args:
        beside: The values.
        start: First position.
        stop: One after the last position.
        bins: Bins in which the models' values are counted.

    Returns:
        For each model the number of values, the numbers that `Sums` holds, and for each of `bins` the values by bin
        and band, (bins, bands).
    """
    base, own, bands = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.uint8)
    sums = np.zeros((len(beside.own), len(NUMBERS)))
    cells = [[Cells(one) for one in bins] for _ in beside.own]
    for low in range(start, stop, BLOCK):
        size = min(BLOCK, stop - low)
        beside.base.fill(base[:size], low)
        for values, numbers, held in zip(beside.own.values(), sums, cells, strict=True):
            values.fill(own[:size], low)
            add_changes(own[:size], base[:size], numbers, bands[:size])
            for one in held:
                one.add(own[:size], bands[:size])
    counts = ([one.counted() for one in held] for held in cells)
    return [(stop - start, numbers, found) for numbers, found in zip(sums, counts, strict=True)]


def as_matrix(row: Mapping[str, Any]) -> Counts:
    """The `histogram` of a row of `WEIGHT_CHANGES`, (bins, bands)."""
    return np.array(row["histogram"], np.int64).reshape(-1, len(BANDS))
