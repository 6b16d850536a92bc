"""The look of plots, from the same tokens as the look of the page (`assets/theme.css`).

Every colour is there twice, for light and for dark ground. Python names colours by how they look on light ground:
markup takes both (`css`), and the browser repaints figures (`assets/painter.js`) by `PAINTED`, so that a tab changes
its look by itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import panel as pn
from bokeh.themes import Theme

ASSETS: Final = Path(__file__).parent / "assets"
CSS: Final = "\n".join(
    (ASSETS / f"{name}.css").read_text() for name in ("theme", "parts", "overview", "behaviours", "sharing", "studies")
)
LAYOUT_CSS: Final = (ASSETS / "layout.css").read_text()
_TOKENS: Final[dict[str, str]] = dict(re.findall(r"--([\w-]+):\s*([^;]+);", CSS))
_COLOURS: Final[dict[str, tuple[str, str]]] = {
    name: (light, dark) for name, light, dark in re.findall(r"--([\w-]+):\s*light-dark\((#\w{6}), (#\w{6})\);", CSS)
}
FONT: Final = _TOKENS["sans"].replace('"', "'")
LABEL_PX: Final = 10.5
"""Size of text beside marks."""


def token(name: str, *, dark: bool = False) -> str:
    """A colour of the stylesheet as #rrggbb, by its name without dashes in front."""
    return _COLOURS[name][dark]


INK: Final = token("ink")
INK_2: Final = token("ink-2")
INK_3: Final = token("ink-3")
LINE: Final = token("line")
SURFACE: Final = token("surface")
ACCENT: Final = token("accent")
MISSING: Final = token("missing")
SERIES: Final = [token(f"series-{number}") for number in range(1, 7)]
"""Colours of models side by side; no two alike under colour-vision deficiency."""


def _channels(colours: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Red, green and blue in [0, 255], (colours, 3)."""
    return np.array([[int(colour[start : start + 2], 16) for start in (1, 3, 5)] for colour in colours], float)


def _written(channels: np.ndarray[Any, np.dtype[np.float64]]) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in channels.round().astype(int).tolist()]


def _ramp(anchors: Sequence[str], steps: int) -> list[str]:
    channels, places = _channels(anchors), np.linspace(0, len(anchors) - 1, steps)
    mixed = [np.interp(places, range(len(anchors)), channels[:, channel]) for channel in range(3)]
    return _written(np.array(mixed).T)


_RAMPS: Final = {
    dark: (
        _ramp([token(f"scale-{number}", dark=dark) for number in range(6)], 256),
        _ramp([token(f"turn-{number}", dark=dark) for number in range(7)], 257),
    )
    for dark in (False, True)
}
SEQUENTIAL: Final = _RAMPS[False][0]
"""For metrics, from low to high."""
DIVERGING: Final = _RAMPS[False][1]
"""For changes, from worse to better; the middle is no change."""


PALER: Final = (0.55, 0.86)
"""Shares of the ground that `paler` mixes into the colours of marks."""


def _mixed(colours: Sequence[str], ground: str, share: float) -> list[str]:
    return _written((1 - share) * _channels(colours) + share * _channels([ground]))


def _painted() -> dict[str, str]:
    marks = {dark: [*_RAMPS[dark][0], *(token(name, dark=dark) for name in ("missing", "ink-3"))] for dark in _RAMPS}
    pairs = list(_COLOURS.values())
    for light, dark in zip(_RAMPS[False], _RAMPS[True], strict=True):
        pairs += zip(light, dark, strict=True)
    for share in PALER:
        mixed = (_mixed(marks[dark], token("surface", dark=dark), share) for dark in (False, True))
        pairs += zip(*mixed, strict=True)
    # Neighbours of a ramp may be one colour once they are pale; either will do.
    return dict(reversed(pairs))


PAINTED: Final = _painted()
"""How a colour on light ground looks on dark ground."""


def paler(colours: Sequence[str], share: float) -> list[str]:
    """Colours of marks, mixed with the ground as opaque paint would be: one of the shares in `PALER`."""
    return _mixed(colours, SURFACE, share)


def css(colour: str) -> str:
    """A colour for markup: as given on light ground, its counterpart on dark ground."""
    return f"light-dark({colour},{PAINTED[colour]})"


@cache
def text_on(colour: str) -> str:
    """Colour of text on a coloured ground, for markup: black or white, of which one can be read on any colour."""
    chosen = [
        max("#000000", "#ffffff", key=lambda text: contrast(text, ground)) for ground in (colour, PAINTED[colour])
    ]
    return "light-dark({},{})".format(*chosen)


def contrast(colour: str, other: str) -> float:
    """Contrast ratio of two colours, in [1, 21], as the Web Content Accessibility Guidelines define it."""
    light, dark = sorted(map(_luminance, (colour, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    shares = _channels([colour])[0] / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@cache
def bokeh_theme() -> Theme:
    """Quiet axes and grids in the page's font."""
    text = {"text_font": FONT, "text_color": INK_2, "text_font_size": "11px"}
    axis: dict[str, Any] = {
        **{f"axis_label_{name}": value for name, value in text.items()},
        **{f"major_label_{name}": value for name, value in text.items()},
        "axis_label_text_font_style": "normal",
        "axis_label_text_color": INK,
        "axis_label_standoff": 8,
        "major_label_standoff": 6,
        "axis_line_color": LINE,
        "major_tick_line_color": None,
        "minor_tick_line_color": None,
    }
    return Theme(
        json={
            "attrs": {
                "Plot": {
                    "background_fill_color": None,
                    "border_fill_color": None,
                    "outline_line_color": None,
                },
                "Axis": axis,
                "Grid": {"grid_line_color": LINE},
                "Title": {"text_font": FONT, "text_color": INK, "text_font_size": "12px", "text_font_style": "bold"},
            }
        }
    )


def layout(*classes: str, children: Sequence[pn.viewable.Viewable] = ()) -> pn.Column:
    """A container whose arrangement `assets/layout.css` gives by class."""
    look = {"css_classes": list(classes), "stylesheets": [LAYOUT_CSS]}
    return pn.Column(*children, **look, sizing_mode="stretch_both", margin=0)
