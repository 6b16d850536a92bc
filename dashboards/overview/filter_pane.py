"""The Filter tab: a histogram to brush for each metric that models are filtered by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cc_ray import compare
from cc_ray.wording import format_value
from dashboards import markup
from dashboards.markup import esc
from dashboards.overview.filters import OPEN, Filters, Interval
from dashboards.snapshot import Metric, Row, Snapshot

HEIGHT: Final = 44
NONE_PASSES: Final = "Widen an interval, or take a filter away."
MEANING: Final = (
    "Drag over a histogram to keep the models in that interval, both ends included; Escape or a click opens it again. "
    "A model passes when it lies in every interval; one that lacks the metric does not."
)


def filter_pane(snapshot: Snapshot, filters: Filters, kept: Sequence[str]) -> str:
    """HTML of the tab.

    Args:
        snapshot: Of the store.
        filters: What is filtered by.
        kept: Models that pass.
    """
    unused = {name: metric.label for name, metric in snapshot.metrics.items() if name not in filters.intervals}
    rows = "".join(_row(snapshot, metric, ends, kept) for metric, ends in filters.intervals.items())
    add = (
        '<select data-do="add-filter" data-key="add-filter" aria-label="Add a filter">'
        f"{markup.options({'': '+ Add filter', **unused}, '')}</select>"
    )
    clear = markup.button("clear-filters", "Clear all", "Let all models pass") if filters.intervals else ""
    return (
        f'<div class="bar">{add}{clear}<span class="soft">{said(snapshot, filters, kept)}</span>'
        f"{markup.info(MEANING)}</div>" + (f'<div class="filter-rows">{rows}</div>' if rows else _first_steps(snapshot))
    )


def said(snapshot: Snapshot, filters: Filters, kept: Sequence[str]) -> str:
    """How many models pass."""
    if not kept and filters.active:
        return f'<b class="bad">No model passes:</b> {NONE_PASSES[0].lower()}{NONE_PASSES[1:]}'
    return f"<b>{len(kept):,}</b> of {len(snapshot.models):,} models pass"


def _first_steps(snapshot: Snapshot) -> str:
    offered = "".join(
        f'<button data-do="add-filter" data-value="{esc(metric.metric)}">{esc(metric.label)}</button>'
        for metric in list(snapshot.metrics.values())[:5]
    )
    return (
        f'<div class="empty"><p>Keep only the models that matter. Filter by</p><div class="bar">{offered}</div></div>'
    )


def _row(snapshot: Snapshot, name: str, ends: Interval, kept: Sequence[str]) -> str:
    metric = snapshot.metrics[name]
    bins = snapshot.once(
        ("histogram", name, hash(tuple(kept))),
        lambda: compare.metric_histogram(snapshot.views, name, ids=kept).to_pylist(),
    )
    return (
        f'<section class="filter-row"><div class="filter-head"><b>{markup.told(metric.label, metric.meaning)}</b>'
        f"<span>{esc(written(ends, metric))}</span>"
        f'<button class="cross" data-do="drop-filter" data-name="{esc(name)}" data-key="drop-{esc(name)}"'
        f' data-tip="Take this filter away" aria-label="Take away the filter of {esc(metric.label)}">×</button></div>'
        f"{_histogram(metric, bins, ends)}</section>"
    )


def _histogram(metric: Metric, bins: Sequence[Row], ends: Interval) -> str:
    low, high, most = bins[0]["low"], bins[-1]["high"], max(row["count"] for row in bins)
    whole, passed = (_bars([row[column] for row in bins], most) for column in ("count", "kept"))
    name, label = metric.metric, f"{metric.label}: arrow keys keep an interval, Shift widens it, Escape opens it"
    axis = markup.brush(f"brush-{name}", label, (low, high, len(bins)), written(ends, metric), name)
    return (
        f'<div class="brush" {axis}>'
        f'<svg viewBox="0 0 {len(bins)} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="whole" d="{whole}"/><path class="kept" d="{passed}"/></svg>'
        f'<i class="band" style="{_band(ends, low, high)}"></i></div>'
        f'<div class="ends"><span>{esc(format_value(low, metric.format))}</span>'
        f"<span>{esc(format_value(high, metric.format))}</span></div>"
    )


def _bars(counts: Sequence[int], most: int) -> str:
    """A path of bars, each one wide; the root of the count, so that rare values can be seen and brushed."""
    tall = [HEIGHT * (count / most) ** 0.5 for count in counts]
    return "".join(f"M{x + 0.06} {HEIGHT}v{-height:.1f}h.88V{HEIGHT}z" for x, height in enumerate(tall) if height)


def _band(ends: Interval, low: float, high: float) -> str:
    if ends == OPEN or high <= low:
        return ""
    left, right = (
        min(1.0, max(0.0, ((edge if end is None else end) - low) / (high - low)))
        for end, edge in zip(ends, (low, high), strict=True)
    )
    return f"left:{100 * left:.2f}%;width:{100 * (right - left):.2f}%"


def written(ends: Interval, metric: Metric) -> str:
    """An interval in words."""
    low, high = (None if end is None else format_value(end, metric.format) for end in ends)
    if low is None and high is None:
        return "any"
    if low is None or high is None:
        return f"≤ {high}" if low is None else f"≥ {low}"
    return f"{low} – {high}"
