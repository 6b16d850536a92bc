"""The look of plots, from the same tokens as the look of the page (`assets/theme.css`)."""

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
CSS: Final = (ASSETS / "theme.css").read_text()
LAYOUT_CSS: Final = (ASSETS / "layout.css").read_text()
_TOKENS: Final[dict[str, str]] = dict(re.findall(r"--([\w-]+):\s*([^;]+);", CSS))
FONT: Final = _TOKENS["sans"].replace('"', "'")
LABEL_PX: Final = 10.5
"""Size of text beside marks."""


def token(name: str) -> str:
    """A colour or size of the stylesheet, by its name without dashes in front."""
    return _TOKENS[name]


INK: Final = token("ink")
INK_2: Final = token("ink-2")
INK_3: Final = token("ink-3")
LINE: Final = token("line")
SURFACE: Final = token("surface")
ACCENT: Final = token("accent")
GOOD: Final = token("good")
BAD: Final = token("bad")
NEUTRAL: Final = token("neutral")
MISSING: Final = token("missing")
SERIES: Final = [token(f"series-{number}") for number in range(1, 7)]
"""Colours of models side by side; no two alike under colour-vision deficiency."""


def _ramp(anchors: list[str], steps: int) -> list[str]:
    channels = np.array([[int(anchor[start : start + 2], 16) for start in (1, 3, 5)] for anchor in anchors], float)
    places = np.linspace(0, len(anchors) - 1, steps)
    mixed = [np.interp(places, range(len(anchors)), channels[:, channel]) for channel in range(3)]
    return ["#{:02x}{:02x}{:02x}".format(*(round(float(value)) for value in rgb)) for rgb in zip(*mixed, strict=True)]


SEQUENTIAL: Final = _ramp([token(f"scale-{number}") for number in range(6)], 256)
"""For metrics, from low to high."""
DIVERGING: Final = _ramp([BAD, "#e39a63", "#f6d9c3", "#f7f7f5", "#c3e3de", "#5db1a7", GOOD], 257)
"""For changes, from worse to better; the middle is no change."""


def mix(colour: str, other: str, share: float) -> str:
    """Blend two colours as opaque paint would: `share` of the other one, in [0, 1]."""
    first, second = (np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], float) for code in (colour, other))
    return "#{:02x}{:02x}{:02x}".format(*(round(float(v)) for v in (1 - share) * first + share * second))


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
