"""The two pieces of the page that are plain HTML and a little JavaScript, with no library to load.

`Html` draws markup made by Python and reports what is done with it (`assets/html.js` tells by which attributes);
`Address` keeps the query part of the page's address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import param
from bokeh.document import Document
from panel.custom import JSComponent
from panel.io import hold

from dashboards.lasting import lasting
from dashboards.theme import ASSETS, PAINTED

Message = Mapping[str, Any]
"""The `data-...` attributes of what was clicked, plus `value` of a field and `add` when Shift or Ctrl was held."""

SLOW: Final = ("cancel-work", "again-work")
"""What is done about content that takes its time."""


def script(*names: str) -> str:
    """The code of a component: files of `assets` in their order, what all begin with before them."""
    return "".join((ASSETS / f"{name}.js").read_text() for name in ("base", *names))


class Component(JSComponent):  # type: ignore[misc] # Panel ships no types
    """A piece with JavaScript that browsers take as it is. Panel would compile it, for each piece of a page again.

    A page of the dashboard names the file that its code is in; where nobody serves files, it holds the code itself.
    """

    address: ClassVar[str] = ""
    """Of the file, seen from the page."""

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        cls.address = lasting(str(cls._esm), "js")

    @classmethod
    def _render_esm(cls, *args: object, **kwargs: object) -> str:
        # Panel would look for files, and take indents away, for each piece again.
        return str(cls._esm)

    def _get_properties(self, doc: Document | None) -> dict[str, Any]:
        # What has the name of a bundle counts as compiled, and is loaded once for all that have the same.
        properties = {**super()._get_properties(doc), "bundle": type(self).__name__}
        served = doc and doc.session_context and doc.session_context.server_context
        return {**properties, "bundle": "url", "esm": self.address} if served else properties


class Html(Component):
    """Markup in the page's look, whose parts with a `data-do` attribute report to Python.

    Content is trusted: whoever makes it escapes what comes from the store.
    """

    content = param.String(doc="HTML.")

    chosen = param.List([], item_type=str, doc="model_id of the rows that are selected: no reason to draw them anew.")

    busy = param.Boolean(doc="Whether newer content is being made; shown where that takes a while.")

    stoppable = param.Boolean(doc="Whether that can be cancelled; offered where it takes longer.")

    _esm = script("keys", "html")

    def __init__(self, content: str = "", on: Callable[[Message], None] | None = None, **params: Any) -> None:
        super().__init__(content=content, **{"sizing_mode": "stretch_width", "margin": 0} | params)
        self._on = on
        self.slow: Callable[[Message], None] | None = None
        """Told where somebody presses what `waiting.py` offers: to cancel, to run again."""

    def save(self, name: str, text: str) -> None:
        """Let the browser save a text as a file."""
        self._send_msg({"name": name, "text": text})

    def _handle_msg(self, data: Message) -> None:
        on = self.slow if data.get("do") in SLOW else self._on
        if on is not None:
            # All that changes goes to the browser as one message, and is drawn at once.
            with hold():
                on(data)


class Address(Component):
    """The query part of the page's address, `?` included.

    Moving to another page adds an entry to the browser's history; anything else replaces the current one.
    """

    query = param.String()

    _esm = """
    export function render({ model }) {
      const page = (query) => new URLSearchParams(query).get("page")
      const show = (first) => {
        if (model.query === window.location.search) return
        const url = window.location.pathname + model.query + window.location.hash
        if (first || page(model.query) === page(window.location.search)) window.history.replaceState({}, "", url)
        else window.history.pushState({}, "", url)
      }
      model.on("query", () => show(false))
      // It may have changed before the browser was ready for this.
      show(true)
      window.addEventListener("popstate", () => { model.query = window.location.search })
      return document.createElement("span")
    }
    """


class Look(Component):
    """The choice of light or dark; repaints the figures of the tab accordingly."""

    paints = param.Dict(PAINTED, doc="How a colour on light ground looks on dark ground.")

    _esm = script("painter", "look")
