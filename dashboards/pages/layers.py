"""Layers: where in a model the zeros are and the weights changed."""

from __future__ import annotations

import re
from functools import partial

import panel as pn
from bokeh.plotting import figure as Figure

from cc_ray import compare
from cc_ray.compare.labels import letter
from cc_ray.errors import CcRayError
from dashboards import figures, markup, tree
from dashboards.chosen import Chosen, chosen, drop, head
from dashboards.components import Html, Message
from dashboards.elements import weight_histogram
from dashboards.page import Page, page
from dashboards.session import DRAWING, Session
from dashboards.snapshot import Snapshot
from dashboards.theme import layout

HISTOGRAM_PX = 300
"""Height of the drawn distribution."""


@page("layers")
class Layers(Page):
    """The module tree of the chosen models, and the weights of one module."""

    title = "Layers"
    order = 30

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.head = Html(on=self._do, css_classes=["controls"])
        self.filter = Html(on=self._do, css_classes=["card-head"])
        self.table = Html(on=self._do, css_classes=["scroll", "tree-body"], sizing_mode="stretch_both")
        self.tree_card = layout("card", "tree-card", children=[self.filter, self.table])
        self.picked = Html(on=self._do, css_classes=["card-head"])
        self.facts = Html(css_classes=["scroll", "tree-body"], sizing_mode="stretch_both")
        self.weights_card = layout("card", "weights-card", children=[self.picked, self.facts])
        self.tree = tree.Tree()
        self.opened: set[str] | None = None

        self.shown: Chosen | None = None

    def view(self) -> pn.viewable.Viewable:
        """The tree on the left, the picked module's weights on the right."""
        return layout("layers", children=[self.head, self.tree_card, self.weights_card])

    def update(self, changed: frozenset[str]) -> None:
        """Ask for what the change touches."""
        now = chosen(self.session)
        if now is None:
            self.table.content = '<p class="empty">There are no models yet.</p>'
            return
        if changed == {"snapshot"} and now == self.shown:
            return  # A model's weights never change.
        self.shown = now
        if changed & {"snapshot", "selection", "base"}:
            self.head.content = head(self.session, now)
            self.session.apart("layers-tree", partial(_tree, self.session.snapshot, now), self._take)
        elif changed & {"layers", "layer"}:
            self._draw_table()
        if changed & {"layers", "snapshot"}:
            self.filter.content = self._filter_bar()
        if changed & {"snapshot", "selection", "base", "layer"}:
            self._draw_weights(now)

    def _take(self, found: tree.Tree | str) -> None:
        if isinstance(found, str):
            self.table.content = found
            return
        self.tree = found
        self.opened = found.first_open() if self.opened is None else self.opened
        self._draw_table()

    def _draw_table(self) -> None:
        now, state = chosen(self.session), self.session.state
        if now is None or self.opened is None:
            return
        try:
            paths = self.tree.matching(state.layers) if state.layers else list(self.tree.visible(self.opened))
        except re.error as error:
            self.table.content = f'<p class="failure">“{markup.esc(state.layers)}” is no pattern: {error}.</p>'
            return
        labels = self.session.snapshot.labels
        empty = "" if paths else '<p class="empty">No module has this in its path.</p>'
        self.table.content = tree.table(self.tree, paths, self.opened, state.layer, now, labels) + empty
        self.facts.content = tree.facts(self.tree, state.layer, now, labels)

    def _draw_weights(self, now: Chosen) -> None:
        snapshot, path = self.session.snapshot, self.session.state.layer
        name = f"<code>{markup.esc(path)}</code>" if path else "the whole model"
        self.picked.content = f"<h2>Weights of {name} <small>zeros left out; pick a row for another module</small></h2>"
        names = {id: f"{letter(place)} {snapshot.labels.last(id)}" for place, id in enumerate(now.shown)}
        names = {now.base: f"◆ {snapshot.labels.last(now.base)}"} | names
        work = partial(figures.plain, partial(weight_histogram, snapshot.views, names, path))
        self.session.apart("layers-weights", work, self._show_weights, DRAWING)

    def _show_weights(self, figure: Figure) -> None:
        figure.sizing_mode, figure.height = "stretch_width", HISTOGRAM_PX
        # The letters above the page are the legend.
        figure.legend.visible = False
        self.weights_card[:] = [self.picked, figures.wide(figure), self.facts]

    def _do(self, message: Message) -> None:
        state = self.session.state
        match message["do"]:
            case "set":
                state.param.update(**{message["name"]: message["value"]})
            case "drop":
                drop(self.session, [message["model"]])
            case "pick":
                state.layer = message["path"]
            case "fold" if self.opened is not None:
                self.opened ^= {message["path"]}
                self._draw_table()
            case "unfold":
                self.opened = {path for path in self.tree.nodes if self.tree.children[path]}
                self._draw_table()
            case "refold":
                self.opened = {""}
                self._draw_table()

    def _filter_bar(self) -> str:
        return (
            '<div class="bar"><label class="field"><span>Modules</span><input type="text" data-do="set"'
            f' data-name="layers" data-key="layers" placeholder="regular expression, e.g. conv|attention"'
            f' value="{markup.esc(self.session.state.layers)}" spellcheck="false"></label>'
            f"{markup.button('unfold', 'Unfold all')}{markup.button('refold', 'Fold all')}</div>"
        )


def _tree(snapshot: Snapshot, now: Chosen) -> tree.Tree | str:
    try:
        return tree.Tree.of(compare.layer_tree(snapshot.views, now.shown or [now.base], now.base).to_pylist())
    except CcRayError as error:
        return f'<p class="failure">{markup.esc(str(error))}</p>'
