"""Where models stand on the Model Map: a column for how far along a recipe, a row for each leaf.

Arranged by step, a model's column is its distance from its base model. Arranged by operation, a column belongs to one
operation, and the columns are a common supersequence of all recipes, found from left to right: the next column is the
operation that most of the remaining steps wait for, and every recipe that waits for it moves on. Recipes with the same
operations move together (a trie of operation names), so the cost is O(n log n) for n models plus O(t c) for t distinct
sequences of operations over c columns, both of which stay small.

Rows: every leaf has its own; a model's first child continues its row, so the first recipe is a straight line.
Siblings stand by column (the farthest first), then by parameter values, then by length of what follows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Arrangement = Literal["operation", "step"]


@dataclass(frozen=True)
class Node:
    """What the layout needs to know of a model."""

    id: str
    parent: str | None
    operation: str | None
    """None for a base model."""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MapLayout:
    """Places by model, and what the columns mean."""

    columns: dict[str, int]
    """Column of each model, from 0."""
    rows: dict[str, int]
    """Row of each model, from 0 at the top."""
    headers: list[str | None]
    """By column: the operation, or None for base models; arranged by step all but the first are empty."""

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return max(self.rows.values(), default=-1) + 1


def layout(nodes: Sequence[Node], arrange: Arrangement = "operation") -> MapLayout:
    """Place every model.

    A model whose parent is not among the nodes stands as a root, and so does one model of a cycle.

    Args:
        nodes: The models, in any order; ids are unique.
        arrange: What a column means: an operation, or the number of steps from the base model.
    """
    forest = _Forest(nodes)
    columns = forest.depth if arrange == "step" else _align(forest)
    headers: list[str | None] = [None] * (max(columns.values(), default=-1) + 1)
    if arrange == "operation":
        for node in nodes:
            headers[columns[node.id]] = node.operation
    else:
        headers[1:] = [""] * (len(headers) - 1)
    return MapLayout(columns, _rows(forest, columns), headers)


class _Forest:
    """Children lists, roots, depths and heights of the lineage, without recursion."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.children: dict[str, list[str]] = {node.id: [] for node in nodes}
        self.roots: list[str] = []
        for node in nodes:
            if node.parent in self.nodes and node.parent != node.id:
                self.children[node.parent].append(node.id)
            else:
                self.roots.append(node.id)
        self.depth: dict[str, int] = {}
        self._reach(self.roots)
        for node in nodes:
            if node.id not in self.depth:
                self._cut(node)
        self.height = self._heights()

    def _reach(self, roots: Iterable[str]) -> None:
        stack = [(root, 0) for root in roots]
        while stack:
            id, depth = stack.pop()
            self.depth[id] = depth
            stack += [(child, depth + 1) for child in self.children[id]]

    def _cut(self, node: Node) -> None:
        assert node.parent is not None
        self.children[node.parent].remove(node.id)
        self.roots.append(node.id)
        self._reach([node.id])

    def _heights(self) -> dict[str, int]:
        height = dict.fromkeys(self.nodes, 0)
        for id in sorted(self.depth, key=self.depth.__getitem__, reverse=True):
            height[id] = max((height[child] + 1 for child in self.children[id]), default=0)
        return height


class _Sequences:
    """The distinct sequences of operations as a trie: one entry for all models that came to be the same way."""

    def __init__(self, forest: _Forest) -> None:
        self.label: list[str | None] = [""]
        self.next: list[list[int]] = [[]]
        self.entry: dict[str, int] = {}
        known: dict[tuple[int, str | None], int] = {}
        stack = [(root, 0) for root in forest.roots]
        while stack:
            id, above = stack.pop()
            key = above, forest.nodes[id].operation
            if key not in known:
                known[key] = len(self.label)
                self.next[above].append(known[key])
                self.label.append(key[1])
                self.next.append([])
            self.entry[id] = known[key]
            stack += [(child, known[key]) for child in forest.children[id]]

    def weights(self) -> list[int]:
        """By entry, how many entries follow it, itself included; those that follow have higher numbers."""
        weights = [1] * len(self.label)
        for entry in reversed(range(len(self.label))):
            weights[entry] += sum(weights[following] for following in self.next[entry])
        return weights


def _align(forest: _Forest) -> dict[str, int]:
    """Columns by weighted majority merge: each takes the operation that most of what is still to come waits for.

    Source: Foulser, Li, Yang, 1992, "Theory and algorithms for plan merging".
    """
    sequences = _Sequences(forest)
    weights = sequences.weights()
    columns: dict[int, int] = {}
    waiting: dict[str | None, list[int]] = defaultdict(list)
    arrived = sequences.next[0]
    while arrived or waiting:
        for entry in arrived:
            waiting[sequences.label[entry]].append(entry)
        label = max(waiting, key=lambda name: (sum(weights[entry] for entry in waiting[name]), name or ""))
        taken = waiting.pop(label)
        columns |= dict.fromkeys(taken, max(columns.values(), default=-1) + 1)
        arrived = [following for entry in taken for following in sequences.next[entry]]
    return {id: columns[entry] for id, entry in sequences.entry.items()}


def _rows(forest: _Forest, columns: dict[str, int]) -> dict[str, int]:
    def place(id: str) -> tuple[Any, ...]:
        node = forest.nodes[id]
        values = [(key, *_comparable(value)) for key, value in sorted(node.parameters.items())]
        return -columns[id], values, -forest.height[id], id

    rows: dict[str, int] = {}
    row = -1
    for root in sorted(forest.roots, key=place):
        row += 1
        stack = [(root, False)]
        while stack:
            id, below = stack.pop()
            row += below
            rows[id] = row
            ordered = sorted(forest.children[id], key=place)
            stack += [(child, index > 0) for index, child in reversed(list(enumerate(ordered)))]
    return rows


def _comparable(value: object) -> tuple[int, float, str]:
    if isinstance(value, bool | int | float):
        return 0, float(value), ""
    return 1, 0.0, str(value)
