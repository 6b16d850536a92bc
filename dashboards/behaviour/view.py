"""What a part of the Behaviours page is, and the marks that all of them share."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Final, TypeVar

from panel.viewable import Viewable

from cc_ray.compare.labels import letter
from cc_ray.errors import CcRayError
from dashboards.behaviour.asked import Asked
from dashboards.chosen import SIDE_BY_SIDE, badge_style
from dashboards.components import Html, Message
from dashboards.markup import esc, sentence
from dashboards.session import ASKING, Session
from dashboards.sharing.menu import Menu
from dashboards.snapshot import Snapshot
from dashboards.theme import layout
from dashboards.waiting import Question

Found = TypeVar("Found")

MODELS: Final = frozenset({"snapshot", "selection", "base"})
"""Choices that every part depends on."""


class View(ABC):
    """One part of the page for one session; made when it is first shown.

    Args:
        session: The session's choices and data.
        do: What to tell of clicks.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """As it stands in the page's navigation."""
    hint: ClassVar[str]
    """The question that it answers."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Choices beside the models and the base that it must be asked anew for."""
    generated: ClassVar[bool | None] = False
    """Whether it is about generated text, about classes, or (None) about both."""

    def __init__(self, session: Session, do: Callable[[Message], None]) -> None:
        self.session = session
        self.do = do

    @abstractmethod
    def view(self) -> Viewable:
        """The content; called once."""

    @abstractmethod
    def update(self, asked: Asked, changed: frozenset[str]) -> None:
        """Ask anew and show it.

        Args:
            asked: What is asked now.
            changed: Names of the choices that changed since the last call; the first call names `MODELS`.
        """

    def part(self, *classes: str, **more: Any) -> Html:
        """An empty part that reports clicks."""
        return Html(on=self.do, css_classes=list(classes), **({"sizing_mode": "stretch_both"} | more))

    def menu(self, *, picture: bool = False) -> Menu:
        """The menu of a card."""
        return Menu(self.session, picture=picture)

    def ask(
        self,
        part: Html,
        work: Callable[[], Found],
        show: Callable[[Found], None] | None = None,
        *,
        beside: Sequence[Html] = (),
        pool: ThreadPoolExecutor = ASKING,
    ) -> None:
        """Do work apart and show it in a part, which tells meanwhile that it waits.

        Args:
            part: Where the answer, or the reason why there is none, is shown.
            work: Makes the answer in a thread.
            show: What to do with it; without it, it is the part's markup.
            beside: Parts that show some of it too.
            pool: Whose thread.
        """

        def answer() -> Found | CcRayError:
            try:
                return work()
            except CcRayError as error:
                return error

        def take(found: Found | CcRayError) -> None:
            if isinstance(found, CcRayError):
                part.content = failure(found, self.session.snapshot)
            elif show is None:
                part.content = str(found)
            else:
                show(found)

        Question(self.session, f"{self.name}-{id(part)}", part, answer, take, beside=beside, pool=pool).ask()


def failure(error: CcRayError, snapshot: Snapshot | None = None) -> str:
    """Why there is no answer, and what to do; with the snapshot, models are called by their names."""
    names = {} if snapshot is None else {id: snapshot.labels.name(id) for id in snapshot.models if id in str(error)}
    return f'<p class="failure">{sentence(str(error), names)}</p>'


def choose(key: str, **choices: Any) -> str:
    """Attributes of what makes choices when it is clicked."""
    return f'data-do="choose" data-key="{esc(key)}" data-choices="{esc(json.dumps(choices))}"'


def mark(place: int) -> str:
    """A model's letter, on its colour while there is one."""
    style = badge_style(place) if place < SIDE_BY_SIDE else "background:var(--ink-3)"
    return f'<b class="badge" style="{style}">{letter(place)}</b>'


def grid(*classes: str, children: Any = ()) -> Any:
    """The arrangement of a part, which `layout.css` gives by class."""
    return layout("part", *classes, children=children)
