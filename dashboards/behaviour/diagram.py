"""A reliability diagram as a drawing in the page: accuracy against confidence, bin by bin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dashboards.snapshot import Row

SIZE: Final = 150
LEFT: Final = 37
BELOW: Final = 46
BARS: Final = 18
"""Height of the bars below the axis: instances of each bin."""


def diagram(rows: Sequence[Row]) -> str:
    """SVG of one model's diagram.

    Args:
        rows: Its bins, as `compare.reliability` gives them.
    """
    if not rows:
        return '<p class="empty">no confidence is known</p>'
    most = max(row["share"] for row in rows)
    ticks = "".join(_tick(share) for share in (0.0, 0.5, 1.0))
    marks = "".join(_bin(row, most) for row in rows)
    return (
        f'<svg class="reliability" viewBox="0 0 {LEFT + SIZE + 8} {SIZE + BELOW + 6}" role="img"'
        ' aria-label="Accuracy against confidence">'
        f'<g transform="translate({LEFT} 6)"><rect class="frame" width="{SIZE}" height="{SIZE}"/>'
        f'<line class="ideal" x1="0" y1="{SIZE}" x2="{SIZE}" y2="0"/>{ticks}{marks}'
        f'<text class="axis" x="{SIZE / 2}" y="{SIZE + BELOW - 2}" text-anchor="middle">Confidence</text>'
        f'<text class="axis" transform="translate(-27 {SIZE / 2}) rotate(-90)" text-anchor="middle">Accuracy</text>'
        "</g></svg>"
    )


def _tick(share: float) -> str:
    at = share * SIZE
    return (
        f'<text x="{at}" y="{SIZE + BARS + 14}" text-anchor="middle">{share:g}</text>'
        f'<text x="-4" y="{SIZE - at + 3}" text-anchor="end">{share:g}</text>'
    )


def _bin(row: Row, most: float) -> str:
    x, y, low, high = (SIZE * row[name] for name in ("confidence", "accuracy", "accuracy_low", "accuracy_high"))
    radius = 2 + 3.5 * (row["share"] / most) ** 0.5
    tall = max(0.5, BARS * row["share"] / most)
    start, width = SIZE * row["low"], SIZE * (row["high"] - row["low"])
    hint = (
        f"confidence {row['low']:.2f} to {row['high']:.2f}: {row['n']:,} instances, mean confidence "
        f"{row['confidence']:.1%}, accuracy {row['accuracy']:.1%} "
        f"({row['accuracy_low']:.1%} to {row['accuracy_high']:.1%})"
    )
    bar = f'x="{start + 0.5:.1f}" y="{SIZE + 3}" width="{max(width - 1, 1):.1f}" height="{tall:.1f}"'
    return (
        f"<g><title>{hint}</title>"
        f'<line class="gap" x1="{x:.1f}" y1="{SIZE - x:.1f}" x2="{x:.1f}" y2="{SIZE - y:.1f}"/>'
        f'<line class="whisker" x1="{x:.1f}" y1="{SIZE - low:.1f}" x2="{x:.1f}" y2="{SIZE - high:.1f}"/>'
        f'<circle cx="{x:.1f}" cy="{SIZE - y:.1f}" r="{radius:.1f}"/>'
        f'<rect class="count" {bar}/></g>'
    )
