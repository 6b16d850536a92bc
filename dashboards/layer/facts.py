"""All that is known of one module: its pictures large, and its numbers, a column per model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cc_ray.compare.labels import Labels
from cc_ray.wording import NOTHING, format_value
from dashboards.chosen import BASE_BADGE, Chosen, badge
from dashboards.layer.cells import Rows, Visual
from dashboards.layer.terms import term
from dashboards.layer.tree import Tree, reshaped
from dashboards.markup import esc
from dashboards.snapshot import Row

FACTS: Final = {
    "parameters": ("Values", "", "count"),
    "sparsity": ("Zeros", "zeros", "percent"),
    "zeros_both": ("Zeros in both", "", "count"),
    "zeros_model_only": ("Zeros here only", "", "count"),
    "zeros_base_only": ("Zeros in the base only", "", "count"),
    "effective_bits": ("Effective bits", "bits", "number"),
    "mean_absolute": ("Mean absolute value", "l1", "number"),
    "relative_change": ("Relative change", "change", "percent"),
    "sqnr_db": ("SQNR (dB)", "sqnr", "number"),
    "unmatched_parameters": ("Without counterpart", "reshaped", "count"),
}
"""Label, term and format by column of `compare.layer_tree`."""
OUTPUT_FACTS: Final = {
    "mean": ("Mean of outputs", "outputs", "number"),
    "std": ("Their deviation σ", "", "number"),
    "zeros": ("Outputs that are 0", "", "percent"),
    "relative_error": ("Relative error", "error", "percent"),
    "sqnr_db": ("SQNR of outputs (dB)", "output_sqnr", "number"),
    "isolated_sqnr_db": ("SQNR alone (dB)", "isolated", "number"),
    "cosine": ("Cosine", "cosine", "number"),
    "cka": ("CKA", "cka", "number"),
}
"""The same of `answers.outputs`."""
AGAINST_BASE: Final = frozenset({"zeros_both", "zeros_model_only", "zeros_base_only", "relative_change", "sqnr_db"})


def large(rows: Rows | None, visual: Visual, now: Chosen, labels: Labels, children: int) -> str:
    """The pictures of a module, one below the other."""
    if rows is None:
        what = f"It holds {children} modules: pick one of them." if children else "Visualise something else of it."
        return f'<p class="empty">Nothing of the kind is recorded of this module itself. {what}</p>'
    short = labels.apart(now.shown)
    names = {now.base: labels.last(now.base)} | short
    marks = _marks(now)
    return "".join(
        f'<div class="large"><h3>{marks[id]} {esc(names[id])}</h3>{visual.large(rows, id, now.base)}</div>'
        for id in (now.base, *now.shown)
    )


def facts(tree: Tree, outputs: Mapping[str, Rows], path: str, now: Chosen, labels: Labels) -> str:
    """The numbers of a module."""
    nodes, own = tree.nodes.get(path, {}), outputs.get(path, {})
    models = [id for id in (now.base, *now.shown) if id in nodes or id in own]
    marks = _marks(now)
    heads = "".join(f'<th class="number" data-tip="{esc(labels.name(id))}">{marks[id]}</th>' for id in models)
    lines = "".join(
        _line(label, key, [_fact(nodes.get(id), column, form, id == now.base) for id in models])
        for column, (label, key, form) in FACTS.items()
        if nodes
    )
    if own:
        lines += "".join(
            _line(label, key, [_output(own.get(id), column, form, id == now.base) for id in models])
            for column, (label, key, form) in OUTPUT_FACTS.items()
        )
    return f'<table class="rows facts-table"><thead><tr><td></td>{heads}</tr></thead><tbody>{lines}</tbody></table>'


def _marks(now: Chosen) -> dict[str, str]:
    return {now.base: BASE_BADGE} | {id: badge(place) for place, id in enumerate(now.shown)}


def _line(label: str, key: str, values: list[str]) -> str:
    named = term(key, label) if key else esc(label)
    return f"<tr><td>{named}</td>" + "".join(f'<td class="number">{value}</td>' for value in values) + "</tr>"


def _fact(node: Row | None, column: str, form: str, base: bool) -> str:
    if node is None:
        return NOTHING
    if column not in AGAINST_BASE:
        return format_value(node[column], form)
    if base:
        return ""
    if column == "sqnr_db" and node["relative_change"] == 0:
        return "equal"
    return NOTHING if reshaped(node) else format_value(node[column], form)


def _output(row: Row | None, column: str, form: str, base: bool) -> str:
    if row is None:
        return NOTHING
    if base and column not in ("mean", "std", "zeros"):
        return ""
    if column == "sqnr_db" and row.get("relative_error") == 0:
        return "equal"
    return format_value(row.get(column), form)
