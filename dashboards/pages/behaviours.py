"""Behaviours: what models answer, against a base, in several parts: in sum, by class, flip by flip, one by one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Final

import panel as pn
import param

from cc_ray import compare
from cc_ray.views import Views
from dashboards.behaviour.asked import Asked, brushed
from dashboards.behaviour.calibration import Calibration
from dashboards.behaviour.classes import Classes
from dashboards.behaviour.exemplars import Exemplars
from dashboards.behaviour.flips import Flips
from dashboards.behaviour.instances import InstanceBrowser
from dashboards.behaviour.slices import Slices
from dashboards.behaviour.summary import Summary
from dashboards.behaviour.texts import GeneratedTexts
from dashboards.behaviour.tokens import TokenLosses
from dashboards.behaviour.unknown import unknown
from dashboards.behaviour.view import MODELS, View
from dashboards.chosen import Chosen, chosen, drop, head
from dashboards.components import Html, Message
from dashboards.deck import Deck
from dashboards.markup import esc
from dashboards.page import Page, page
from dashboards.session import Session
from dashboards.state import CHOICES, State
from dashboards.theme import layout

VIEWS: Final[tuple[type[View], ...]] = (
    Summary,
    Classes,
    Flips,
    InstanceBrowser,
    Exemplars,
    Slices,
    Calibration,
    GeneratedTexts,
    TokenLosses,
)


@dataclass(frozen=True)
class Known:
    """What decides which parts there are."""

    generated: bool = False
    """Whether the models generate text."""
    silent: tuple[str, ...] = ()
    """Those of the base and the models of which no answers are known."""


OF_MEASURE: Final = {"kept": "", "rank": ""}
"""Choices that only mean something for the measure they were made for."""


@page("behaviours")
class Behaviours(Page):
    """Who answers what, and who lost or gained against the base."""

    title = "Behaviours"
    order = 20

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.head = Html(on=self._do, css_classes=["inline"], sizing_mode=None)
        self.tabs = Html(on=self._do, css_classes=["inline"], sizing_mode=None)
        self.nothing = Html(css_classes=["card", "padded"], sizing_mode="stretch_both")
        self.deck = Deck()
        self.deck.add("nothing", self.nothing)
        self.made: dict[str, View] = {}
        self.waiting: dict[str, set[str]] = {}
        self.shown: Chosen | None = None
        self.known = Known()

    def view(self) -> pn.viewable.Viewable:
        """The models and the parts above, one part below."""
        bar = layout("behaviours-bar", children=[self.tabs, self.head])
        return layout("behaviours", children=[bar, self.deck.place])

    def update(self, changed: frozenset[str]) -> None:
        """Bring the part in front up to date."""
        now = chosen(self.session)
        if changed == {"snapshot"} and now == self.shown:
            return  # What a model answered never changes.
        if now is None or not now.ids:
            self._empty(now)
            return
        if changed & MODELS:
            self.head.content = head(self.session, now)
            self.known = Known(self.known.generated)
            self.session.apart("behaviours-known", partial(_known, self.session.snapshot.views, now), self._know)
        self.shown = now
        for waiting in self.waiting.values():
            waiting |= changed
        self._show(now)

    def _know(self, known: Known) -> None:
        """Parts depend on whether the models generate text; there are none where no answers are known."""
        if known != self.known and self.shown is not None:
            self.known = known
            self._show(self.shown)

    def _part(self) -> type[View]:
        offered = [view for view in VIEWS if view.generated in (None, self.known.generated)]
        return next((view for view in offered if view.name == self.session.state.part), offered[0])

    def _show(self, now: Chosen) -> None:
        if self.known.silent:
            self.tabs.content = ""
            self._tell(unknown(self.session.snapshot, self.session.state, now, self.known.silent))
            return
        kind = self._part()
        self.tabs.content = tabs(self.session.state, kind, self.known.generated)
        if kind.name not in self.made:
            self.made[kind.name] = made = kind(self.session, self._do)
            self.deck.add(kind.name, made.view())
            self.waiting[kind.name] = set(MODELS)
        self.deck.show(kind.name)
        changed, self.waiting[kind.name] = self.waiting[kind.name], set()
        if changed & (MODELS | kind.needs):
            self.made[kind.name].update(Asked.of(self.session.snapshot, self.session.state, now), frozenset(changed))

    def _empty(self, now: Chosen | None) -> None:
        self.shown = now
        self.head.content = head(self.session, now) if now else ""
        self.tabs.content = tabs(self.session.state, self._part(), self.known.generated)
        overview = self.session.state.query(page="overview") or "./"
        self._tell(
            '<p class="empty">Select a model besides the base to see how its answers differ: on the '
            f'<a href="{esc(overview)}">Overview</a>, or choose another base above.</p>'
        )

    def _tell(self, content: str) -> None:
        """Say why there is no part, and what to do."""
        for waiting in self.waiting.values():
            waiting |= MODELS
        self.nothing.content = content
        self.deck.show("nothing")

    def _do(self, message: Message) -> None:
        state = self.session.state
        match message["do"]:
            case "set":
                self._choose({message["name"]: message["value"]})
            case "choose":
                self._choose(json.loads(message["choices"]))
            case "page":
                state.offset = max(0, int(message["offset"]))
            case "drop":
                drop(self.session, [message["model"]])
            case "keep":
                self.session.select(message["models"].split())
            case "brush":
                kept = brushed(self.session, message["model"], message.get("low"), message.get("high"))
                self._choose({"kept": kept})

    def _choose(self, choices: dict[str, object]) -> None:
        """Make choices; what others of them mean nothing for any more goes back to its default."""
        state = self.session.state
        known = {name: value for name, value in choices.items() if name in CHOICES and _possible(name, value)}
        if known.get("measure", state.measure) != state.measure:
            known = {**OF_MEASURE, **known}
        if set(known) - {"part", "focus", "flow", "pair"}:
            known = {"offset": 0, **known}
        state.param.update(**known)


def _known(views: Views, now: Chosen) -> Known:
    every = dict.fromkeys((now.base, *now.ids))
    answering = set(compare.answering(views, every))
    return Known(compare.generates(views, now.base), tuple(id for id in every if id not in answering))


def _possible(name: str, value: object) -> bool:
    parameter = State.param[name]
    return value in parameter.objects if isinstance(parameter, param.Selector) else isinstance(value, str | int)


def tabs(state: State, current: type[View], generated: bool) -> str:
    """Links to the parts; the current one marked."""
    return '<nav class="tabs" aria-label="Parts of this page">{}</nav>'.format(
        "".join(_tab(state, view, current) for view in VIEWS if view.generated in (None, generated))
    )


def _tab(state: State, view: type[View], current: type[View]) -> str:
    here = ' aria-current="page"' if view is current else ""
    choices = esc(json.dumps({"part": view.name}))
    return (
        f'<a href="{esc(state.query(part=view.name) or "./")}" data-do="choose" data-choices="{choices}"'
        f' data-key="part-{view.name}" data-tip="{esc(view.hint)}"{here}>{esc(view.title)}</a>'
    )
