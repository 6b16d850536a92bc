"""The module tree of models: what stands above what, which rows are open, and in which order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cc_ray.compare.layers.module_paths import above, natural, node
from dashboards.snapshot import Row

ROWS_AT_FIRST: Final = 40
"""Before anyone folds, as many levels stand open as give no more rows than this."""


@dataclass
class Tree:
    """Nodes by path and model, in the order of the tree."""

    nodes: dict[str, dict[str, Row]] = field(default_factory=dict)
    children: dict[str | None, list[str]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Tree:
        """Read the rows of `compare.layer_tree`."""
        tree = cls()
        for row in rows:
            if row["path"] not in tree.nodes:
                tree.nodes[row["path"]] = {}
                tree.children[row["parent"]].append(row["path"])
            tree.nodes[row["path"]][row["model_id"]] = row
        return tree

    def with_modules(self, modules: Mapping[str, str], model: str) -> Tree:
        """The tree with further modules that hold no tensors, such as activation functions.

        Args:
            modules: Class by path.
            model: Whose they are, where nothing else is known of them.
        """
        nodes, children = dict(self.nodes), defaultdict(list, {path: [*held] for path, held in self.children.items()})
        empty = {"leaf": False, "parameters": None, "model_id": model}
        for path in (up for given in modules for up in above(given)):
            if path not in nodes:
                own = node(path) | empty | {"module": modules.get(path, "")}
                nodes[path] = {model: own}
                children[own["parent"]].append(path)
        for held in children.values():
            held.sort(key=natural)
        return Tree(nodes, children)

    @property
    def inner(self) -> set[str]:
        """Paths of modules that hold others."""
        return {path for path in self.nodes if self.children[path]}

    @property
    def leaves(self) -> list[str]:
        """Paths of modules that hold tensors of their own, in the order of the tree."""
        return [path for path, rows in self.nodes.items() if any(row["leaf"] for row in rows.values())]

    def any_node(self, path: str, first: str) -> Row:
        """What one model, or else any that has it, says of a module."""
        rows = self.nodes[path]
        return rows.get(first) or next(iter(rows.values()))

    def first_open(self) -> set[str]:
        """Paths of the inner modules that stand open before anyone folds."""
        depths = sorted(depth(path) for path in self.nodes)
        shown = depths[ROWS_AT_FIRST] if len(depths) > ROWS_AT_FIRST else depths[-1] + 1 if depths else 0
        return {path for path in self.inner if depth(path) < max(shown - 1, 1)}

    def visible(self, opened: set[str], roots: Sequence[str] = ("",)) -> Iterator[str]:
        """Paths at or below some, whose parents up to there are all open, in the order of the tree."""
        stack = list(reversed(roots))
        while stack:
            path = stack.pop()
            if path in self.nodes:
                yield path
            if path in opened:
                stack += reversed(self.children[path])

    def ranked(self, paths: Sequence[str], value: Callable[[str], float | None], *, least_first: bool) -> list[str]:
        """The paths by a value, the largest first; those without one last."""
        known = {path: found for path in paths if (found := value(path)) is not None}
        order = sorted(known, key=lambda path: known[path], reverse=not least_first)
        return [*order, *(path for path in paths if path not in known)]


def depth(path: str) -> int:
    """Modules above it, the whole model among them."""
    return path.count(".") + 1 if path else 0


def reshaped(node: Row) -> bool:
    """Whether most of a module's values have no counterpart in the base: what the rest did tells little."""
    return bool(2 * node["unmatched_parameters"] > node["parameters"])
