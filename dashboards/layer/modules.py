"""Modules: the tree of modules with what each model did to them, and the one picked in detail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import panel as pn

from cc_ray import compare
from cc_ray.views import Views
from dashboards import markup
from dashboards.chosen import Chosen
from dashboards.components import Message
from dashboards.layer import answers, shown
from dashboards.layer.cells import VISUALS, Rows
from dashboards.layer.facts import facts, large
from dashboards.layer.table import Look, next_sort, table
from dashboards.layer.tree import Tree
from dashboards.layer.view import Card, View
from dashboards.session import Session
from dashboards.state import State, short
from dashboards.theme import layout

PAGE: Final = 60
"""Rows drawn before one asks for more."""


@dataclass(frozen=True)
class Found:
    """What was asked for the table; drawn as it was asked for, until newer answers have come."""

    now: Chosen
    visual: str
    tree: Tree
    rows: Mapping[str, Rows]
    matched: Sequence[str] | None
    """Paths that the pattern found; None without a pattern."""


class Modules(View):
    """The tree on the left, the picked module on the right."""

    name = "modules"

    def __init__(self, session: Session, do: Callable[[Message], None]) -> None:
        super().__init__(session, do)
        self.table = Card(session, "tree-card", self._do)
        self.picked = Card(session, "weights-card", self._do)
        self.found: Found | None = None
        self.opened: set[str] | None = None
        self.limit = PAGE

    def part(self) -> pn.viewable.Viewable:
        """The tree on the left, the picked module on the right."""
        return layout("layers-view", "modules-view", children=[self.table.part, self.picked.part])

    def update(self, changed: frozenset[str], now: Chosen) -> None:
        """Ask for what the change touches."""
        views, state = self.session.snapshot.views, self.session.state
        if changed & {"models", "visual", "layers"}:
            self.limit = PAGE
            self.table.head.content = _bar(state)
            self.table.ask(partial(_find, views, now, state.visual, state.layers), self._take)
        elif changed & {"layer", "layer_sort"}:
            self._draw()
        if changed & {"models", "visual", "layer"}:
            self.table.menu.show(shown.modules(now, state.visual))
            self.picked.menu.show(shown.modules(now, state.visual, state.layer))
            self.picked.ask(partial(_detail, self.session, now, state.visual, state.layer), self._show_detail)

    def _take(self, found: Found) -> None:
        self.found = found
        self.opened = found.tree.first_open() if self.opened is None else self.opened
        self._draw()

    def _draw(self) -> None:
        if self.found is None or self.opened is None:
            return
        look = self._look(self.found, self.opened)
        if not look.paths:
            self.table.body.content = _none(self.session.state.layers)
            return
        more = len(look.paths) - self.limit
        rows = table(replace(look, paths=look.paths[: self.limit]), self.session.snapshot.labels)
        rest = markup.button("more", f"Show {min(more, PAGE)} more of {more}") if more > 0 else ""
        self.table.body.content = rows + rest

    def _look(self, found: Found, opened: set[str]) -> Look:
        state, now, visual = self.session.state, found.now, VISUALS[found.visual]
        ids = {short(id): id for id in (now.base, *now.shown)}
        sorted_by = ids.get(state.layer_sort.removeprefix("-"))
        if sorted_by is None:
            paths = list(found.tree.visible(opened, ("",) if found.matched is None else found.matched))
        else:
            value = lambda path: visual.measure(found.rows.get(path, {}), sorted_by, now.base)  # noqa: E731
            least = state.layer_sort.startswith("-")
            paths = found.tree.ranked(_candidates(found), value, least_first=least)
        flat = sorted_by is not None or found.matched is not None
        sort = state.layer_sort if sorted_by else ""
        return Look(found.tree, found.rows, visual, paths, opened, state.layer, sort, flat, now)

    def _show_detail(self, content: tuple[str, str]) -> None:
        self.picked.head.content, self.picked.body.content = content

    def _do(self, message: Message) -> None:
        match message["do"]:
            case "fold" if self.opened is not None:
                self.opened ^= {message["path"]}
                self._draw()
            case "unfold" if self.found is not None:
                self.opened = self.found.tree.inner
                self._draw()
            case "refold":
                self.opened = {""}
                self._draw()
            case "more":
                self.limit += PAGE
                self._draw()
            case "sort":
                state = self.session.state
                state.layer_sort = next_sort(state.layer_sort, message["model"])
            case _:
                self.do(message)


def _find(views: Views, now: Chosen, visual: str, pattern: str) -> Found:
    tree = answers.module_tree(views, now.shown, now.base)
    rows = _rows(views, now, visual, tree)
    if visual == "activations":
        classes = {path: next(iter(models.values()))["module"] for path, models in rows.items()}
        tree = tree.with_modules(classes, now.base)
    matched = compare.matching(views, tree.nodes, pattern) if pattern else None
    return Found(now, visual, tree, rows, matched)


def _rows(views: Views, now: Chosen, visual: str, tree: Tree) -> Mapping[str, Rows]:
    if visual == "weights":
        return answers.weights(views, now.shown, now.base)
    return tree.nodes if visual == "sparsity" else answers.outputs(views, now.shown, now.base)


def _candidates(found: Found) -> list[str]:
    """Modules with tensors or outputs of their own that the pattern lets through."""
    own = [path for path in found.tree.nodes if path in set(found.tree.leaves) or not found.tree.children[path]]
    if found.matched is None:
        return own
    return [path for path in own if any(path == up or path.startswith(f"{up}.") for up in found.matched)]


def _detail(session: Session, now: Chosen, visual: str, path: str) -> tuple[str, str]:
    views, labels = session.snapshot.views, session.snapshot.labels
    tree = answers.module_tree(views, now.shown, now.base)
    outputs = answers.outputs(views, now.shown, now.base)
    path = path if path in tree.nodes or path in outputs else ""
    rows = _rows(views, now, visual, tree).get(path)
    name = f"<code>{markup.esc(path)}</code>" if path else "the whole model"
    head = f"<h2>{VISUALS[visual].title} of {name}</h2>"
    body = large(rows, VISUALS[visual], now, labels, len(tree.children[path]))
    return head, body + facts(tree, outputs, path, now, labels)


def _none(pattern: str) -> str:
    return f'<p class="empty">No module has “{markup.esc(pattern)}” in its path. Shorten the pattern.</p>'


def _bar(state: State) -> str:
    """Choices of the view, and what its colours mean."""
    visuals = {name: visual.title for name, visual in VISUALS.items()}
    hints = {name: visual.hint for name, visual in VISUALS.items()}
    switch = markup.switch("visual", visuals, state.visual, hints)
    return (
        f'<div class="bar"><span class="field"><span>Visualise</span>{switch}</span>'
        f"{search(state.layers)}{markup.button('unfold', 'Unfold all')}{markup.button('refold', 'Fold all')}</div>"
        f'<div class="bar keys">{VISUALS[state.visual].legend()}</div>'
    )


def search(pattern: str) -> str:
    """The field for a pattern over module paths."""
    return (
        '<label class="field"><span>Modules</span><input type="text" data-do="set" data-name="layers" data-key="layers"'
        f' placeholder="regex, e.g. conv|attention" value="{markup.esc(pattern)}" spellcheck="false"></label>'
    )
