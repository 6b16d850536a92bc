"""Histograms as small pictures: dozens stand in one table, where figures of a library would take seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cc_ray.compare.layers.weight_changes import BANDS
from cc_ray.wording import format_value
from dashboards.markup import esc
from dashboards.snapshot import Row

Columns = NDArray[np.float64]
"""Shares by bin and layer of the stack, (bins, layers)."""

PAINTS: Final = ("var(--band-0)", "var(--band-1)", "var(--band-2)", "var(--band-3)", "var(--band-4)", "var(--band-5)")
"""Colours of the bands of relative change, from small to large."""
PLAIN: Final = ("var(--ink-3)",)
CUT: Final = 2.5
"""A column more than so many times as tall as the next one is cut off: it would press all others flat."""


@dataclass(frozen=True)
class Histogram:
    """How values are distributed, in a stack of layers."""

    edges: Sequence[float]
    columns: Columns
    paints: Sequence[str]
    names: Sequence[str]
    """Of the layers; one nameless layer where there is no stack."""
    outline: Columns | None = None
    """Shares by bin of what it is compared with, (bins,)."""

    @property
    def heights(self) -> Columns:
        """Height of each column."""
        whole: Columns = self.columns.sum(axis=1)
        return whole

    @property
    def top(self) -> float:
        """Height of the picture: that of the tallest column, unless it stands out by far."""
        tall = np.sort(np.concatenate([self.heights, [] if self.outline is None else self.outline]))
        first, second = (float(tall[-1]), float(tall[-2])) if len(tall) > 1 else (1.0, 0.0)
        return CUT * second if second > 0 and first > CUT * second else first or 1.0

    @property
    def cut(self) -> list[int]:
        """Columns that are taller than the picture."""
        return [int(bin) for bin in np.flatnonzero(self.heights > self.top * 1.0001)]


def of_weights(row: Row | None, base: bool) -> Histogram | None:
    """The histogram of a row of `compare.weight_changes`; None where the saved weights are not there."""
    if row is None or not row["histogram"]:
        return None
    counts = np.array(row["histogram"], float).reshape(-1, len(BANDS))
    shares = counts / max(counts.sum(), 1)
    if base:
        return Histogram(row["edges"], shares.sum(axis=1, keepdims=True), PLAIN, ("",))
    return Histogram(row["edges"], shares, PAINTS, band_names())


def of_outputs(row: Row | None, base: Row | None, paint: str) -> Histogram | None:
    """The histogram of a row of `compare.activation_histograms`, with the outline of the base's."""
    if row is None or not row["shares"]:
        return None
    outline = np.array(base["shares"]) if base is not None and base is not row else None
    return Histogram(row["edges"], np.array(row["shares"])[:, None], (paint,), ("",), outline)


def band_names() -> tuple[str, ...]:
    """What the bands of relative change are called."""
    inner = pairwise(BANDS)
    return (*(f"{low:g} to {high:g}" for low, high in inner), f"{BANDS[-1]:g} and more")


def picture(shown: Histogram, tall: bool = False) -> str:
    """SVG as wide as its place.

    Args:
        shown: The histogram.
        tall: As tall as there is room for what each column holds; else only the layers say what they are.
    """
    bins, top = len(shown.columns), shown.top
    below = np.minimum(np.concatenate([np.zeros((bins, 1)), shown.columns.cumsum(axis=1)], axis=1) / top, 1.0)
    layers = "".join(
        f'<path d="{_steps(below[:, place], below[:, place + 1])}" fill="{paint}"{_tip(shown, place)}/>'
        for place, paint in enumerate(shown.paints)
        if (below[:, place + 1] > below[:, place]).any()
    )
    outline = "" if shown.outline is None else f'<path class="outline" d="{_outline(shown.outline / top)}"/>'
    marks = "".join(f'<path class="cut" d="M{bin - 0.2} 6h1.4v4h-1.4z"/>' for bin in shown.cut)
    hovers = "".join(_column(shown, bin) for bin in range(bins)) if tall else ""
    kind = "histogram tall" if tall else "histogram"
    return (
        f'<svg class="{kind}" viewBox="0 0 {bins} 100" preserveAspectRatio="none" role="img"'
        f' aria-label="{esc(spoken(shown))}">{layers}{outline}{marks}{hovers}</svg>'
    )


def framed(shown: Histogram) -> str:
    """The tall picture with what its axes say."""
    low, high = (format_value(float(end), "number") for end in (shown.edges[0], shown.edges[-1]))
    place = 100 * (0 - shown.edges[0]) / ((shown.edges[-1] - shown.edges[0]) or 1.0)
    zero = f'<i style="left:{place:.1f}%">0</i>' if 12 < place < 88 else ""
    cut = "".join(f" The column at {_range(shown, bin)} is {shown.heights[bin]:.0%} and cut off." for bin in shown.cut)
    note = f'<p class="soft small">{esc(cut.strip())}</p>' if cut else ""
    return (
        f'<div class="framed"><span class="top">{format_value(shown.top, "percent")}</span>{picture(shown, tall=True)}'
        f'<div class="axis"><span>{low}</span>{zero}<span>{high}</span></div>{note}</div>'
    )


def spoken(shown: Histogram) -> str:
    """What the picture shows, in words."""
    first, last = shown.edges[0], shown.edges[-1]
    return f"Distribution from {format_value(float(first), 'number')} to {format_value(float(last), 'number')}"


def _steps(low: Columns, high: Columns) -> str:
    """The area between two rows of steps; y runs from 100 at the bottom to 0 at the top."""
    up = "".join(f"V{100 - 100 * y:.4g}h1" for y in high)
    down = "".join(f"V{100 - 100 * y:.4g}h-1" for y in low[::-1])
    return f"M0 {100 - 100 * low[0]:.4g}{up}{down}z"


def _outline(heights: Columns) -> str:
    return "M0 100" + "".join(f"V{100 - 100 * min(float(y), 1.0):.4g}h1" for y in heights) + "V100"


def _tip(shown: Histogram, place: int) -> str:
    if not shown.names[place]:
        return ""
    share = format_value(float(shown.columns[:, place].sum()), "percent")
    return f' data-tip="{share} of the values: relative change {shown.names[place]}"'


def _column(shown: Histogram, bin: int) -> str:
    """An unseen column that says what it holds."""
    parts = [f"{_range(shown, bin)}: {format_value(float(shown.heights[bin]), 'percent')}"]
    if shown.outline is not None:
        parts.append(f"base {format_value(float(shown.outline[bin]), 'percent')}")
    named = zip(shown.names, shown.columns[bin], strict=True)
    parts += [f"change {name}: {format_value(float(share), 'percent')}" for name, share in named if name and share > 0]
    return f'<rect class="hover" x="{bin}" width="1" height="100" data-tip="{esc("; ".join(parts))}"/>'


def _range(shown: Histogram, bin: int) -> str:
    low, high = (format_value(float(edge), "number") for edge in (shown.edges[bin], shown.edges[bin + 1]))
    return f"{low} to {high}"
