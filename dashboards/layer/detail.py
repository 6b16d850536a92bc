"""One layer of one model beside the base's: what a cell of a map stands for."""

from __future__ import annotations

from collections.abc import Mapping

from dashboards.chosen import BASE_BADGE, Chosen, badge
from dashboards.layer import answers
from dashboards.layer.cells import VISUALS, Rows
from dashboards.layer.facts import facts
from dashboards.layer.tree import Tree
from dashboards.markup import esc, recipe
from dashboards.snapshot import Snapshot


def cell_detail(snapshot: Snapshot, base: str, other: str, path: str, among: tuple[str, ...] = ()) -> tuple[str, str]:
    """Head and body of a card.

    Args:
        snapshot: Of the store.
        base: Model that it is compared with.
        other: First digits of the model.
        path: Of the layer; "" where none is picked.
        among: Models that are asked about together, so that the next cell is answered at once.
    """
    id = snapshot.known.get(other)
    if id is None or not path:
        return "<h2>A layer of a model</h2>", '<p class="empty">Pick a cell to see the histograms behind it.</p>'
    one = Chosen((id,) if id != base else (), base, True)
    views = snapshot.views
    whole = answers.module_tree(views, among if id in among else one.ids, base)
    tree = Tree({path: whole.nodes[path]} if path in whole.nodes else {})
    weights, outputs = answers.weights_of(views, id, base, path), answers.outputs_of(views, one.ids, base, path)
    head = f'<h2><code>{esc(path)}</code></h2><div class="named">{badge(0)}{recipe(snapshot, id)}</div>'
    actions = (
        f'<div class="bar"><button data-do="open" data-model="{esc(other)}" data-key="open"'
        ' data-tip="Show this model alone, with all its modules">Open in Modules</button></div>'
    )
    pictures = _pair("weights", weights, path, one) + _pair("activations", outputs, path, one)
    return head, pictures + facts(tree, outputs, path, one, snapshot.labels) + actions


def _pair(visual: str, nodes: Mapping[str, Rows], path: str, one: Chosen) -> str:
    """Pictures of the base and the model."""
    if path not in nodes:
        return ""
    shown = VISUALS[visual]
    pictures = "".join(
        f'<div class="large beside">{mark}<div>{shown.large(nodes[path], id, one.base)}</div></div>'
        for mark, id in zip((BASE_BADGE, badge(0)), (one.base, *one.ids), strict=False)
    )
    return f'<h3>{shown.title}</h3><div class="bar keys">{shown.legend()}</div>{pictures}'
