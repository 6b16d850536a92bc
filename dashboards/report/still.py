"""Markup of the dashboard made still: in a file nobody answers clicks.

Buttons become what they say, or go where they only lead elsewhere; hints of the browser become those that the keyboard
reaches, too; headings stand a level lower, below those of the sections.
"""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final

from dashboards.markup import esc

Attributes = dict[str, str | None]

LEADING: Final = frozenset({"drop", "look", "select-all", "page", "classes"})
"""What buttons do that say nothing without it."""
SIGNS: Final = frozenset({"rank", "cross", "fold"})
"""Classes of buttons that are only a sign."""
SILENT: Final = frozenset(
    {
        "data-do", "data-key", "data-choices", "data-at", "data-add", "data-by", "data-brush", "data-page",
        "aria-valuemin", "aria-valuemax", "aria-valuenow", "aria-valuetext",
    }
)  # fmt: skip
LOWER: Final = {"h2": "h3", "h3": "h4"}


def still(markup: str) -> str:
    """HTML that asks for no answer.

    Args:
        markup: As the parts of the dashboard make it.
    """
    parser = _Still()
    parser.feed(markup)
    parser.close()
    return "".join(parser.parts)


class _Still(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self._left_out = False
        self._renamed: list[str] = []
        """What buttons that are open became."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "button":
            self._left_out = given.get("data-do") in LEADING or bool(_classes(given) & SIGNS)
            self._renamed.append("span" if "data-do" in given else "button")
        self._say(f"<{self._name(tag)}{_written(_quiet(tag, given))}>")

    def handle_endtag(self, tag: str) -> None:
        self._say(f"</{self._name(tag)}>")
        if tag == "button":
            self._left_out = False
            self._renamed.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # SVG's own: `<path ... />`.
        self._say(self.get_starttag_text() or "")

    def handle_data(self, data: str) -> None:
        self._say(data)

    def handle_entityref(self, name: str) -> None:
        self._say(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._say(f"&#{name};")

    def _say(self, text: str) -> None:
        if not self._left_out:
            self.parts.append(text)

    def _name(self, tag: str) -> str:
        return self._renamed[-1] if tag == "button" else LOWER.get(tag, tag)


def _quiet(tag: str, given: Attributes) -> Attributes:
    """Attributes without what asks for an answer."""
    found = {name: value for name, value in given.items() if name not in SILENT}
    if "data-do" in given and tag != "td":
        # Cells of maps stay within reach: the arrow keys lead through them.
        found.pop("tabindex", None)
    if "data-brush" in given:
        found.pop("tabindex")
        found["role"] = "img"
    if tag == "button" and "data-do" in given:
        # What a click would do.
        found = {name: value for name, value in found.items() if name not in ("title", "data-tip", "aria-pressed")}
    elif tag != "button" and (hint := found.pop("title", None)):
        found["data-tip"] = hint
    if "wide" in _classes(given):
        found |= {"tabindex": "0", "role": "region", "aria-label": "Table that scrolls"}
    return found


def _classes(given: Attributes) -> set[str]:
    return set((given.get("class") or "").split())


def _written(given: Attributes) -> str:
    return "".join(f" {name}" if value is None else f' {name}="{esc(value)}"' for name, value in given.items())
