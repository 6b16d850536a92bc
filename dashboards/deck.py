"""A place with several parts, of which one is in front."""

from __future__ import annotations

from typing import Final

import param
from panel.viewable import Viewable

from dashboards.components import Component
from dashboards.theme import layout

_ESM: Final = """
export function render({ model, view }) {
  const sheet = new CSSStyleSheet()
  const place = view.parent.shadow_el
  place.adoptedStyleSheets = [...place.adoptedStyleSheets, sheet]
  const hidden = "{ visibility: hidden; content-visibility: hidden }"
  const show = () => sheet.replaceSync(`.frame:not(.frame-${model.front}) ${hidden}`)
  model.on("front", show)
  show()
  return document.createElement("span")
}
"""


class Front(Component):
    """Hides all frames beside it but one.

    Bokeh's own `visible` would lay out the whole page anew, and draw every figure again that it shows. What is hidden
    here keeps its size and what was drawn, and is not touched until it is in front again.
    """

    front = param.String(doc="Name of the frame that is seen.")

    _esm = _ESM


class Deck:
    """Parts on top of each other. Each is added once, when it is first needed, and stays."""

    def __init__(self) -> None:
        self._front = Front(css_classes=["front"], sizing_mode=None, margin=0)
        self.place = layout("deck", children=[self._front])

    def add(self, name: str, part: Viewable) -> None:
        """Put a part below all others.

        Args:
            name: Of letters and dashes.
            part: What fills the place.
        """
        # In a frame of its own: the part's own arrangement would overrule that it is hidden.
        self.place.append(layout("frame", f"frame-{name}", children=[part]))

    def show(self, name: str) -> None:
        """Bring a part to the front; none where there is none of that name."""
        self._front.front = name
