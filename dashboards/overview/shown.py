"""What each card of the Overview shows, as questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboards.overview import parallel
from dashboards.overview.encoding import Encoding
from dashboards.overview.filters import Filters
from dashboards.overview.insights_pane import LIMIT
from dashboards.sharing.shown import Shown, asked
from dashboards.snapshot import Snapshot
from dashboards.state import State
from dashboards.theme import SERIES


def model_map() -> list[Shown]:
    """Of the Model Map."""
    return [asked("Models", "models"), asked("Lineage", "edges")]


def trade_offs(
    snapshot: Snapshot, state: State, encoding: Encoding, filters: Filters, kept: Sequence[str]
) -> list[Shown]:
    """Of the view of the trade-offs that is in front."""
    names = list(dict.fromkeys([encoding.y, encoding.x]))
    metrics = [snapshot.metrics[name] for name in names if name in snapshot.metrics]
    what = ", ".join(metric.label for metric in metrics)
    if state.trade_offs == "recipes":
        differ = [asked("Recipes that differ", "differences", "labels", ids=kept)]
        return [asked("Models", "models"), *(differ if 1 < len(kept) <= parallel.MOST else [])]
    if len(metrics) < 2 or any(metric.direction == "none" for metric in metrics):
        return model_map()[:1]
    if state.trade_offs == "progress":
        studies = [study["study_id"] for study in snapshot.studies][: len(SERIES)]
        titles = {study: f"Hypervolume {study}: {what}" for study in studies or [""]}
        return [asked(title, "hypervolume_history", objectives=names, study=study) for study, title in titles.items()]
    if state.groups:
        ids = kept if filters.active else None
        return [asked(f"Fronts by {state.groups}: {what}", "fronts", objectives=names, by=state.groups, ids=ids)]
    chosen = {"ids": kept} if filters.search else _bounds(filters)
    return [asked(f"Front: {what}", "front", objectives=names, **chosen)]


def side(snapshot: Snapshot, state: State, filters: Filters, chosen: Sequence[str]) -> list[Shown]:
    """Of the tab beside the plots.

    Args:
        snapshot: Of the store.
        state: Whose tab.
        filters: What the models must fulfil.
        chosen: The selected models.
    """
    passing = asked("Models that pass", "passing", search=filters.search, **_bounds(filters))
    match state.side:
        case "filter":
            metrics = [snapshot.metrics[name] for name in filters.intervals]
            bins = [asked(f"Histogram: {each.label}", "metric_histogram", metric=each.metric) for each in metrics]
            return [passing, *bins]
        case "table":
            # With its columns, which the question itself does not answer.
            return [Shown("Models that pass", passing.sql, passing.note)]
        case "insights":
            return [asked("Insights", "insights", limit=LIMIT)]
    if not chosen:
        names = [metric.metric for metric in snapshot.objectives]
        return [asked("Recommended models", "recommendations", objectives=names)] if names else []
    findings = asked("Findings", "findings", ids=chosen)
    if len(chosen) == 1:
        name = snapshot.labels.last(chosen[0])
        return [asked(f"Metrics: {name}", "show", "metrics", model=chosen[0]), findings]
    return [asked("Recipes that differ", "differences", "labels", ids=chosen), asked("Models", "models"), findings]


def _bounds(filters: Filters) -> dict[str, Any]:
    ends = filters.intervals.items()
    return {
        "at_least": {name: low for name, (low, _) in ends if low is not None},
        "at_most": {name: high for name, (_, high) in ends if high is not None},
    }
