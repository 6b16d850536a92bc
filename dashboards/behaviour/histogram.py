"""A small histogram to brush: all instances in grey, those that are kept in colour."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.behaviour.asked import Asked, Interval
from dashboards.markup import brush, esc
from dashboards.snapshot import Row

HEIGHT: int = 38


def histogram(asked: Asked, model_id: str, rows: Sequence[Row], name: str) -> str:
    """HTML of one model's histogram.

    Args:
        asked: What is shown.
        model_id: Whose it is.
        rows: Its bins, as `compare.measure_distribution` gives them.
        name: What the model is called.
    """
    if not any(row["count"] for row in rows):
        return '<div class="brush empty">no values</div>'
    low, high, most = rows[0]["low"], rows[-1]["high"], max(row["count"] for row in rows)
    whole, kept = (_bars([row[column] for row in rows], most) for column in ("count", "kept"))
    ends = "".join(f"<span>{esc(_end(asked, end))}</span>" for end in ((low, high) if high > low else (low,)))
    label = (
        f"{name}: {asked.shown.label} from {asked.written(low)} to {asked.written(high)}. Arrow keys keep an interval."
    )
    between = asked.between.get(model_id)
    kept_now = f"{asked.written(between[0])} to {asked.written(between[1])}" if between else "all"
    return (
        f'<div class="brush" {brush(f"brush-{model_id}", label, (low, high, len(rows)), kept_now, model_id)}>'
        f'<svg viewBox="0 0 {len(rows)} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="whole" d="{whole}"/><path class="kept" d="{kept}"/></svg>'
        f'<i class="band" style="{_band(between, low, high)}"></i></div>'
        f'<div class="ends">{ends}</div>'
    )


def _bars(counts: Sequence[int], most: int) -> str:
    """A path of bars, each one wide; the root of the count, so that rare values can be seen and brushed."""
    tall = [HEIGHT * (count / most) ** 0.5 for count in counts]
    return "".join(f"M{x + 0.06} {HEIGHT}v{-height:.1f}h.88V{HEIGHT}z" for x, height in enumerate(tall) if height)


def _end(asked: Asked, value: float) -> str:
    """An end of the axis, as briefly as its place asks for."""
    return asked.written(value).replace(".0 ", " ").replace(" points", "")


def _band(ends: Interval | None, low: float, high: float) -> str:
    if ends is None or high <= low:
        return ""
    left, right = (min(1.0, max(0.0, (end - low) / (high - low))) for end in ends)
    return f"left:{100 * left:.2f}%;width:{100 * (right - left):.2f}%"
