"""The module tree as a table that folds, is sorted by a model's column, and is walked through by the arrow keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cc_ray.compare.labels import Labels
from cc_ray.wording import format_value
from dashboards.chosen import BASE_BADGE, Chosen, badge
from dashboards.layer.cells import Rows, Visual
from dashboards.layer.tree import Tree, depth
from dashboards.markup import esc
from dashboards.snapshot import Row
from dashboards.state import short

INDENT_PX: Final = 14
"""How much further in a module stands than the one that holds it."""
MODULE_PX, MODEL_PX = 230, 80
"""Room that modules and the cells of a model need at least; the table scrolls where there is less."""
ARROWS: Final = {"": "", "descending": "▾", "ascending": "▴"}


@dataclass(frozen=True)
class Look:
    """What is shown, and how."""

    tree: Tree
    rows: Mapping[str, Rows]
    """What the cells show, by path and model."""
    visual: Visual
    paths: Sequence[str]
    opened: set[str]
    picked: str
    sort: str
    """As `State.layer_sort`."""
    flat: bool
    """Whole paths instead of a tree."""
    now: Chosen

    @property
    def models(self) -> tuple[str, ...]:
        """The base, then the others."""
        return (self.now.base, *self.now.shown)


def table(look: Look, labels: Labels) -> str:
    """HTML of the table."""
    heads = "".join(_head(look, id, labels) for id in look.models)
    # One row is reached by Tab; the arrow keys go on from there.
    entry = look.picked if look.picked in look.paths else look.paths[0]
    rows = "".join(_row(look, path, path == entry) for path in look.paths)
    kind = "rows tree flat" if look.flat else "rows tree"
    width = MODULE_PX + MODEL_PX * len(look.models)
    head = f'<th>Module</th><th class="number">Values</th>{heads}'
    return (
        f'<table class="{kind}" style="min-width:{width}px" role="treegrid" aria-label="Modules">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def next_sort(current: str, model: str) -> str:
    """What a click on a model's head sorts by: the largest first, then the least, then the tree again."""
    turns = {model: f"-{model}", f"-{model}": ""}
    return turns.get(current, model)


def _head(look: Look, id: str, labels: Labels) -> str:
    place = look.now.shown.index(id) if id != look.now.base else None
    name = labels.last(id) if place is None else labels.apart(look.now.shown)[id]
    mark = BASE_BADGE if place is None else badge(place)
    own = short(id)
    sorted_ = {own: "descending", f"-{own}": "ascending"}.get(look.sort, "")
    aria = f' aria-sort="{sorted_}"' if sorted_ else ""
    return (
        f'<th class="model"{aria}><button class="sort" data-do="sort" data-model="{own}" data-key="sort-{own}"'
        f' data-tip="{esc(labels.name(id))}. Sort by this column.">{mark}<span>{esc(name)}</span>'
        f"<b>{ARROWS[sorted_]}</b></button></th>"
    )


def _row(look: Look, path: str, entry: bool) -> str:
    node = look.tree.any_node(path, look.now.base)
    cells = "".join(f"<td>{_cell(look, path, id)}</td>" for id in look.models)
    picked = path == look.picked
    parent = "" if node["parent"] is None else f' data-parent="{esc(node["parent"])}"'
    selected = f' aria-selected="{str(picked).lower()}"{" class=picked" if picked else ""}'
    return (
        f'<tr data-do="pick" data-path="{esc(path)}" data-key="pick-{esc(path)}" tabindex="{entry - 1}"'
        f' aria-level="{depth(path) + 1}"{parent}{selected}>'
        f"{_module(look, path, node)}"
        f'<td class="number">{format_value(node["parameters"], "count")}</td>{cells}</tr>'
    )


def _cell(look: Look, path: str, id: str) -> str:
    rows = look.rows.get(path)
    if rows is None:
        below = len(look.tree.children[path])
        return f'<span class="soft">{below} inside</span>' if below else '<span class="soft">–</span>'
    return look.visual.cell(rows, id, look.now.base)


def _module(look: Look, path: str, node: Row) -> str:
    if look.flat:
        name, left, fold = path, 6, ""
    else:
        name, left, fold = node["name"], 6 + INDENT_PX * depth(path), _fold(look, path)
    tip = esc(f"{path or 'the whole model'} {node['module']}")
    return (
        f'<td class="module" style="padding-left:{left}px" data-tip="{tip}">'
        f"{fold}<span>{esc(name or 'whole model')}</span> <small>{esc(node['module'])}</small></td>"
    )


def _fold(look: Look, path: str) -> str:
    if not look.tree.children[path]:
        return '<i class="leaf"></i>'
    opened = path in look.opened
    sign, word = ("▾", "Fold") if opened else ("▸", "Unfold")
    return (
        f'<button class="fold" data-do="fold" data-path="{esc(path)}" data-key="fold-{esc(path)}" tabindex="-1"'
        f' aria-label="{word}" aria-expanded="{str(opened).lower()}">{sign}</button>'
    )
