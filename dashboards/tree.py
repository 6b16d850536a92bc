"""The module tree of models as a table that folds: sparsity and change of weights of each beside the base."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cc_ray.compare.labels import Labels
from cc_ray.wording import NOTHING, format_value
from dashboards.chosen import BASE_BADGE, Chosen, badge
from dashboards.markup import esc
from dashboards.snapshot import Row

ROWS_AT_FIRST: Final = 30
"""Before anyone folds, as many levels stand open as give no more rows than this."""
SCALE: Final = 1.0
"""Relative change that fills a cell's bar."""


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

    def first_open(self) -> set[str]:
        """Paths of the inner modules that stand open before anyone folds."""
        depths = sorted(_depth(path) for path in self.nodes)
        shown = depths[ROWS_AT_FIRST] if len(depths) > ROWS_AT_FIRST else depths[-1] + 1 if depths else 0
        return {path for path in self.nodes if self.children[path] and _depth(path) < max(shown - 1, 1)}

    def visible(self, opened: set[str]) -> Iterator[str]:
        """Paths whose parents are all open, in the order of the tree."""
        stack = [""]
        while stack:
            path = stack.pop()
            if path in self.nodes:
                yield path
            if path in opened:
                stack += reversed(self.children[path])

    def matching(self, pattern: str) -> list[str]:
        """The topmost paths in which a regular expression is found.

        Raises:
            re.error: If the pattern is none.
        """
        wanted = re.compile(pattern, re.IGNORECASE)
        found: list[str] = []
        for path in self.nodes:
            if path and wanted.search(path) and not any(path.startswith(f"{above}.") for above in found):
                found.append(path)
        return found


def table(tree: Tree, paths: Sequence[str], opened: set[str], picked: str, now: Chosen, labels: Labels) -> str:
    """HTML of the rows.

    Args:
        tree: All nodes.
        paths: Those shown.
        opened: Those unfolded.
        picked: The one whose weights are drawn.
        now: The models shown.
        labels: Names of models.
    """
    short = labels.apart(now.shown)
    heads = "".join(
        f'<th colspan="2" class="model" title="{esc(labels.name(id))}">{badge(place)} {esc(short[id])}</th>'
        for place, id in enumerate(now.shown)
    )
    subheads = '<th class="sub">Zeros</th><th class="sub">Change</th>' * len(now.shown)
    rows = "".join(_row(tree, path, opened, path == picked, now) for path in paths)
    return (
        '<table class="rows tree"><thead><tr><th rowspan="2">Module</th><th rowspan="2" class="number">Parameters</th>'
        f'<th class="model" title="{esc(labels.name(now.base))}">{BASE_BADGE}'
        f" {esc(labels.last(now.base))}</th>{heads}</tr>"
        f'<tr><th class="sub">Zeros</th>{subheads}</tr></thead><tbody>{rows}</tbody></table>'
    )


def facts(tree: Tree, path: str, now: Chosen, labels: Labels) -> str:
    """HTML of all that is known of one module: a column per model."""
    nodes = tree.nodes.get(path, {})
    models = [id for id in (now.base, *now.shown) if id in nodes]
    marks = {now.base: BASE_BADGE} | {id: badge(place) for place, id in enumerate(now.shown)}
    heads = "".join(f'<th class="number" title="{esc(labels.name(id))}">{marks[id]}</th>' for id in models)
    lines = "".join(
        f"<tr><td>{esc(name)}</td>"
        + "".join(f'<td class="number">{_fact(nodes[id], key, form, id == now.base)}</td>' for id in models)
        + "</tr>"
        for key, (name, form) in FACTS.items()
    )
    return f'<table class="rows"><thead><tr><th></th>{heads}</tr></thead><tbody>{lines}</tbody></table>'


FACTS: Final = {
    "parameters": ("Parameters", "count"),
    "sparsity": ("Zeros", "percent"),
    "zeros_both": ("Zeros in both", "count"),
    "zeros_model_only": ("Zeros here only", "count"),
    "zeros_base_only": ("Zeros in the base only", "count"),
    "effective_bits": ("Bits per value on disk", "number"),
    "mean_absolute": ("Mean absolute value", "number"),
    "relative_change": ("Relative change", "percent"),
    "sqnr_db": ("SQNR (dB)", "number"),
    "unmatched_parameters": ("Values of another shape", "count"),
}


AGAINST_BASE: Final = frozenset({"zeros_both", "zeros_model_only", "zeros_base_only", "relative_change", "sqnr_db"})


def _fact(node: Row, key: str, form: str, base: bool) -> str:
    if key not in AGAINST_BASE:
        return format_value(node[key], form)
    if base:
        return ""
    return NOTHING if reshaped(node) else format_value(node[key], form)


def reshaped(node: Row) -> bool:
    """Whether most of a module's values have no counterpart in the base: what the rest did tells little."""
    return bool(2 * node["unmatched_parameters"] > node["parameters"])


def _row(tree: Tree, path: str, opened: set[str], picked: bool, now: Chosen) -> str:
    nodes = tree.nodes[path]
    base = nodes.get(now.base)
    any_node = base or next(iter(nodes.values()))
    cells = "".join(_cells(nodes.get(id), place) for place, id in enumerate(now.shown))
    return (
        f'<tr data-do="pick" data-path="{esc(path)}" data-key="pick-{esc(path)}" tabindex="0"'
        f"{' class=picked' if picked else ''}>"
        f'<td class="module" style="padding-left:{8 + 14 * any_node["depth"]}px">{_fold(tree, path, opened)}'
        f"<span>{esc(any_node['name'] or 'whole model')}</span> <small>{esc(any_node['module'])}</small></td>"
        f'<td class="number">{format_value(any_node["parameters"], "count")}</td>'
        f"<td>{_zeros(base, 'var(--ink-3)')}</td>{cells}</tr>"
    )


def _fold(tree: Tree, path: str, opened: set[str]) -> str:
    if not tree.children[path]:
        return '<i class="leaf"></i>'
    sign, word = ("▾", "Fold") if path in opened else ("▸", "Unfold")
    return (
        f'<button class="fold" data-do="fold" data-path="{esc(path)}" data-key="fold-{esc(path)}"'
        f' title="{word}" aria-expanded="{str(path in opened).lower()}">{sign}</button>'
    )


def _cells(node: Row | None, place: int) -> str:
    if node is None:
        return '<td class="soft" colspan="2">not there</td>'
    return f"<td>{_zeros(node, f'var(--series-{place + 1})')}</td><td>{_change(node)}</td>"


def _zeros(node: Row | None, colour: str) -> str:
    if node is None or node["sparsity"] is None:
        return '<span class="soft">–</span>'
    parts = [("whole", node["zeros"], colour)]
    hint = f"{node['zeros']:,} of {node['parameters']:,} values are zero"
    if node["zeros_both"] is not None and node["base_sparsity"]:
        parts = [("both", node["zeros_both"], "var(--missing)"), ("own", node["zeros_model_only"], colour)]
        hint += f": {node['zeros_both']:,} in both, {node['zeros_model_only']:,} here only, "
        hint += f"{node['zeros_base_only']:,} in the base only"
    bars = "".join(
        f'<i style="width:{100 * (count or 0) / max(node["parameters"], 1):.1f}%;background:{paint}"></i>'
        for _, count, paint in parts
    )
    bits = format_value(node["effective_bits"], "bits")
    return (
        f'<span class="cell" title="{esc(hint)}; {bits} per value">{format_value(node["sparsity"], "percent")}'
        f'<span class="stack">{bars}</span></span>'
    )


def _change(node: Row) -> str:
    """How far the weights moved, where they have a counterpart."""
    if node["relative_change"] is None or reshaped(node):
        why = "another shape than the base" if node["unmatched_parameters"] else "the weights were not saved"
        word = "reshaped" if node["unmatched_parameters"] else "–"
        return f'<span class="soft" title="{why}">{word}</span>'
    change = node["relative_change"]
    sqnr = "equal weights" if node["sqnr_db"] is None else f"SQNR {node['sqnr_db']:.1f} dB"
    partly = f", {node['unmatched_parameters']:,} values reshaped" if node["unmatched_parameters"] else ""
    noise = "" if node["sqnr_db"] is None else f"<small>{node['sqnr_db']:.0f} dB</small>"
    width = 100 * min(1.0, change / SCALE)
    return (
        f'<span class="cell" title="relative change {change:.3g}, {sqnr}{partly}">'
        f"{format_value(change, 'percent')} {noise}"
        f'<span class="stack"><i style="width:{width:.1f}%;background:var(--bad)"></i></span></span>'
    )


def _depth(path: str) -> int:
    return path.count(".") + 1 if path else 0
