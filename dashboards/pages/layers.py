"""Layers: what compression did to each module of models, and what each module is worth."""

from __future__ import annotations

from functools import partial
from typing import Final

import panel as pn

from dashboards import markup
from dashboards.chosen import Chosen, chosen, drop, head
from dashboards.components import Html, Message
from dashboards.deck import Deck
from dashboards.layer.heat import Heat
from dashboards.layer.modules import Modules
from dashboards.layer.nothing import missing, nothing
from dashboards.layer.sensitivity import Sensitivity
from dashboards.layer.similarity import Similarity
from dashboards.layer.view import View
from dashboards.page import Page, page
from dashboards.session import Session
from dashboards.state import CHOICES
from dashboards.theme import layout

VIEWS: Final[dict[str, tuple[str, str, type[View]]]] = {
    "modules": ("Modules", "Zeros, weights and activations, module by module", Modules),
    "heat": ("Heat map", "One measure of every layer of many models", Heat),
    "sensitivity": ("Sensitivity", "What compressing each layer alone costs", Sensitivity),
    "similarity": ("Similarity", "Every layer of a model beside every layer of the base", Similarity),
}
"""Title, hint and class by name in the address."""


@page("layers")
class Layers(Page):
    """Views of the modules of the chosen models, one in front at a time."""

    title = "Layers"
    order = 30

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.head = Html(on=self._do, css_classes=["models-bar"])
        self.tabs = Html(on=self._do, css_classes=["tabs"])
        self.deck = Deck()
        self.made: dict[str, View] = {}
        self.waiting: dict[str, set[str]] = {}
        self.shown: Chosen | None = None
        self.nothing = Html(css_classes=["card", "padded"], sizing_mode="stretch_both")
        self.deck.add("nothing", self.nothing)
        self.missing: dict[str, str] = {}
        """Why views have nothing to show, by name."""

    def view(self) -> pn.viewable.Viewable:
        """The choice of a view above, then the models, then the view."""
        return layout("layers", children=[self.tabs, self.head, self.deck.place])

    def update(self, changed: frozenset[str]) -> None:
        """Tell the view in front; others are told when they are shown."""
        now = chosen(self.session)
        if now is None:
            return
        names = set(changed)
        if now != self.shown:
            # A model's layers never change, so a grown store alone touches no view that shows chosen models.
            self.shown = now
            names.add("models")
            self.head.content = head(self.session, now)
            self.missing = {}
            self.session.apart("layers-missing", partial(missing, self.session.snapshot, now), self._know)
        for waiting in self.waiting.values():
            waiting |= names
        self._show(now)

    def _know(self, missing: dict[str, str]) -> None:
        if missing and self.shown is not None:
            self.missing = missing
            self._show(self.shown)

    def _show(self, now: Chosen) -> None:
        name = self.session.state.layer_view
        titles = {other: title for other, (title, _, _) in VIEWS.items()}
        hints = {other: hint for other, (_, hint, _) in VIEWS.items()}
        self.tabs.content = markup.tabs("layer_view", titles, name, hints)
        if name in self.missing:
            self.nothing.content = nothing(self.missing[name], self.session.state)
            self.deck.show("nothing")
            return
        if name not in self.made:
            self.made[name] = VIEWS[name][2](self.session, self._do)
            self.deck.add(name, self.made[name].part())
            self.waiting[name] = {*CHOICES, "models", "snapshot"}
        self.deck.show(name)
        changed, self.waiting[name] = frozenset(self.waiting[name]), set()
        if changed:
            self.made[name].update(changed, now)

    def _do(self, message: Message) -> None:
        state = self.session.state
        match message["do"]:
            case "set":
                state.param.update(**{message["name"]: message["value"]})
            case "drop":
                drop(self.session, [message["model"]])
            case "pick":
                state.layer = message["path"]
