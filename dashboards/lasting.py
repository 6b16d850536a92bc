"""What every page needs alike, as files that browsers keep: code of components, the look.

An address names what is in the file, so that a file never changes: it is fetched once, and again only after an upgrade.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

PLACE: Final = "static/cc-ray"
"""Where the files are, seen from the page."""

files: Final[dict[str, str]] = {}
"""Texts by name; whoever serves pages serves these below `PLACE`."""


def lasting(text: str, kind: str) -> str:
    """The address of a text, seen from the page.

    Args:
        text: What is in the file.
        kind: The end of its name: `js` or `css`.
    """
    name = f"{sha256(text.encode()).hexdigest()[:20]}.{kind}"
    files[name] = text
    return f"./{PLACE}/{name}"
