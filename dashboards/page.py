"""What a page of the dashboard is, and how it announces itself: one file in `dashboards/pages`, one class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from panel.viewable import Viewable

from cc_ray.errors import UnknownNameError
from cc_ray.registry import Registry

if TYPE_CHECKING:
    from dashboards.session import Session
    from dashboards.snapshot import Snapshot


class UnknownPageError(UnknownNameError):
    """A page that is not registered."""

    kind = "page"


class Page(ABC):
    """One page for one session. Subclasses are registered with `@page("name")`.

    A page is made when it is first shown and kept. While it is shown, `update` is called after every change; while it
    is hidden, changes wait until it is shown again.

    Args:
        session: The session's choices and data.
    """

    title: ClassVar[str]
    """As it stands in the navigation."""
    order: ClassVar[int] = 100
    """Place in the navigation, the smallest first."""
    needs_models: ClassVar[bool] = True
    """Whether a store without models is welcomed instead."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @classmethod  # noqa: B027 (most pages need nothing)
    def prepare(cls, snapshot: Snapshot) -> None:
        """Have what every first look at the page needs found before anyone looks; runs where plots are drawn."""

    @abstractmethod
    def view(self) -> Viewable:
        """The page's content; called once."""

    @abstractmethod
    def update(self, changed: frozenset[str]) -> None:
        """Show what changed.

        Args:
            changed: Names of `State` parameters that changed since the last call; "snapshot" when the store did. The
                first call names all.
        """


pages: Final[Registry[type[Page]]] = Registry("dashboards.pages", "cc_ray.pages", UnknownPageError)


def page(name: str) -> Any:
    """Register a `Page` under the name that stands in the address."""

    def add(kind: type[Page]) -> type[Page]:
        return pages.register(name)(kind)

    return add
