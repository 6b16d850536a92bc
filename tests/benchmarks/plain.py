"""The plain way of asking what `cc_ray.compare` asks: what benchmarks measure against.

Written after the description of the research prototype: it looks models up by searching a list, compares all with all,
and finds the variables of a selection by trying every order of expanding the lineage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Row = dict[str, Any]
Variables = dict[str, int]
"""Weight by name."""

PARAMETER: Final = 1
PRESENCE: Final = 2
OPERATION: Final = 5
MOST_NAMES: Final = 3
"""With more different operations than this, the search does not branch by operation."""
ROOT: Final = ""


def descendants(models: Sequence[Row], model_id: str) -> list[str]:
    """Every node's children are found by going through the list."""
    found = []
    for model in models:
        if model["parent"] == model_id:
            found += [model["model_id"], *descendants(models, model["model_id"])]
    return found


def ancestors(models: Sequence[Row], model_id: str) -> list[str]:
    """Every parent is found by going through the list."""
    parent = next(model for model in models if model["model_id"] == model_id)["parent"]
    return [parent, *ancestors(models, parent)] if parent else []


def front(points: Sequence[tuple[float, ...]]) -> list[bool]:
    """Every point is compared with every other one; smaller is better."""
    return [not any(_beats(other, point) for other in points) for point in points]


def _beats(other: tuple[float, ...], point: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(other, point, strict=True)) and other != point


@dataclass(frozen=True)
class Node:
    """A model as the search sees it."""

    parent: str
    name: str
    """Its operation with the occurrence on the way from the root: "tune 2"."""
    parameters: Mapping[str, Any]


class Search:
    """The prototype's search for the variables of a selection, by trying all candidates to the end."""

    def __init__(self, models: Sequence[Row], selected: Sequence[str]) -> None:
        self.models = models
        kept = {model_id for one in selected for model_id in (one, *ancestors(models, one))}
        self.nodes = {model_id: self._node(model_id) for model_id in kept}
        self.expanded = 0
        """Rounds that were tried."""

    def cost(self) -> int:
        """Cost of the cheapest outcome."""
        return self._cheapest({ROOT: {}}, frozenset(), {})

    def _node(self, model_id: str) -> Node:
        model = next(model for model in self.models if model["model_id"] == model_id)
        if not model["parent"]:
            return Node(ROOT, "Base Model", {"Base": model_id})
        way = [model_id, *ancestors(self.models, model_id)]
        operations = Counter(next(m for m in self.models if m["model_id"] == one)["operation"] for one in way)
        return Node(model["parent"], f"{model['operation']} {operations[model['operation']]}", model["parameters"])

    def _cheapest(self, rows: dict[str, Row], explored: frozenset[str], variables: Variables) -> int:
        self.expanded += 1
        fresh = [
            model_id
            for model_id, node in self.nodes.items()
            if model_id not in rows and node.parent in rows and node.parent not in explored
        ]
        if not fresh:
            return sum(variables.values())
        names = sorted({self.nodes[model_id].name for model_id in fresh})
        if len(names) == 1:
            return self._by_name(rows, frozenset(rows), variables, fresh)
        outcomes = [self._by_operation(rows, variables, fresh)]
        if len(names) <= MOST_NAMES:
            for name in names:
                chosen = [model_id for model_id in fresh if self.nodes[model_id].name == name]
                outcomes.append(self._by_name(rows, explored, variables, chosen))
        return min(outcomes)

    def _by_name(
        self, rows: dict[str, Row], explored: frozenset[str], variables: Variables, chosen: Sequence[str]
    ) -> int:
        name = self.nodes[chosen[0]].name
        keys = {key for model_id in chosen for key in self.nodes[model_id].parameters}
        varying = [key for key in keys if len({str(self.nodes[one].parameters.get(key)) for one in chosen}) > 1]
        table = {model_id: dict(row) for model_id, row in rows.items()}
        for model_id in chosen:
            node = self.nodes[model_id]
            own = {f"{name} {key}": str(node.parameters.get(key)) for key in varying}
            table[model_id] = {**table[node.parent], name: True, **own}
        weights = {name: PRESENCE, **{f"{name} {key}": PARAMETER for key in varying}}
        return self._cheapest(table, explored, variables | weights)

    def _by_operation(self, rows: dict[str, Row], variables: Variables, fresh: Sequence[str]) -> int:
        table = {model_id: dict(row) for model_id, row in rows.items()}
        label = f"operation {len(variables)}"
        for model_id in fresh:
            node = self.nodes[model_id]
            table[model_id] = {**table[node.parent], label: f"{node.name} {node.parameters}"}
        return self._cheapest(table, frozenset(rows), variables | {label: OPERATION})
