"""Which metrics the plots show, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from dashboards.snapshot import Metric, Snapshot
from dashboards.state import State

NONE: Final = "none"
"""The choice of no metric; the empty choice is the default metric."""


@dataclass(frozen=True)
class Encoding:
    """The metrics on the plots; "" for none."""

    colour: str
    size: str
    x: str
    y: str

    @classmethod
    def of(cls, snapshot: Snapshot, state: State) -> Encoding:
        """The chosen metrics, defaults filled in where nothing or nothing known is chosen."""
        chosen = {name: getattr(state, name) for name in ("colour", "size", "x", "y")}
        none = {name: "" for name in ("colour", "size") if chosen[name] == NONE}
        known = {name: value for name, value in chosen.items() if value in snapshot.metrics}
        return replace(default_encoding(snapshot), **known, **none)


def default_encoding(snapshot: Snapshot) -> Encoding:
    """The metrics shown before anyone chooses: quality upwards, size to the side."""
    known = snapshot.primary or list(snapshot.metrics.values())
    quality = _first(known, "accuracy", "f1", "higher")
    size = _first([metric for metric in known if metric.metric != quality], "size", "latency", "lower")
    return Encoding(quality, size, size, quality)


def _first(metrics: list[Metric], *wanted: str) -> str:
    for want in wanted:
        for metric in metrics:
            if want in metric.metric or want == metric.direction:
                return metric.metric
    return metrics[0].metric if metrics else ""
