"""What a view of the Layers page is, and the cards that views are made of."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, TypeVar

from panel.viewable import Viewable

from cc_ray.errors import CcRayError, StoppedError
from dashboards.chosen import Chosen
from dashboards.components import Html, Message
from dashboards.markup import sentence
from dashboards.session import ASKING, Session
from dashboards.sharing.menu import Menu
from dashboards.theme import layout
from dashboards.waiting import Question

Result = TypeVar("Result")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Why there is no answer."""

    reason: str


class Card:
    """A head, which tells while an answer takes its time, and a body below it.

    Args:
        session: Of the tab.
        name: CSS class that gives its place, and the slot of its answers.
        on: Told what is clicked.
    """

    def __init__(self, session: Session, name: str, on: Callable[[Message], None]) -> None:
        self.session, self.name = session, name
        self.head = Html(on=on, css_classes=["card-head"])
        self.body = Html(on=on, css_classes=["scroll", "tree-body"], sizing_mode="stretch_both")
        self.menu = Menu(session, picture=True)
        self.part = layout("card", name, children=[self.head, self.body, self.menu])

    def ask(
        self, work: Callable[[], Result], show: Callable[[Result], None], pool: ThreadPoolExecutor = ASKING
    ) -> None:
        """Ask apart, then show the answer unless the card was asked something newer meanwhile.

        What is on the card stays until then. A question that cannot be answered says why in the body.
        """
        answer, take = partial(_answered, work), partial(self._take, show)
        Question(self.session, self.name, self.body, answer, take, self.head, pool=pool).ask()

    def _take(self, show: Callable[[Result], None], found: Result | Failure) -> None:
        if isinstance(found, Failure):
            self.body.content = f'<p class="failure">{sentence(found.reason)}</p>'
        else:
            show(found)


class View(ABC):
    """One view: made when first shown, then told of every change while it is in front.

    Args:
        session: Of the tab.
        do: What to do about clicks that are not the view's own.
    """

    name: ClassVar[str]
    """In the address."""

    def __init__(self, session: Session, do: Callable[[Message], None]) -> None:
        self.session, self.do = session, do

    @abstractmethod
    def part(self) -> Viewable:
        """The view's content; called once."""

    @abstractmethod
    def update(self, changed: frozenset[str], now: Chosen) -> None:
        """Show what changed.

        Args:
            changed: Names of `State` parameters that changed since the last call; "models" when the models shown did,
                "snapshot" when the store did. The first call names all.
            now: The models shown.
        """


def _answered(work: Callable[[], Result]) -> Result | Failure:
    try:
        return work()
    except StoppedError:
        raise
    except CcRayError as error:
        return Failure(str(error))
    except Exception as error:
        # The card must not wait for ever.
        log.exception("a card could not be filled")
        return Failure(
            f"This could not be computed ({type(error).__name__}: {error}). The log of the server says more."
        )
