"""Intervals of metrics that models must lie in, as the address holds them: `accuracy:0.9..0.95;size_bytes:..40000`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from cc_ray import compare
from dashboards.snapshot import Snapshot

Interval = tuple[float | None, float | None]
"""Least and greatest value allowed; None where that side is open."""
OPEN: Interval = (None, None)


@dataclass(frozen=True)
class Filters:
    """What models must fulfil to be looked at."""

    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """By metric, in the order in which they were added; an open one is shown and lets everything pass."""
    search: str = ""

    @classmethod
    def read(cls, text: str, search: str, known: Collection[str]) -> Filters:
        """Filters from the address; what is no metric or no interval is left out."""
        found = {}
        for part in text.split(";"):
            metric, _, ends = part.partition(":")
            low, dots, high = ends.partition("..")
            if metric in known and dots:
                found[metric] = _number(low), _number(high)
        return cls(found, search)

    @property
    def text(self) -> str:
        """The intervals as `read` takes them."""
        return ";".join(f"{metric}:{_text(low)}..{_text(high)}" for metric, (low, high) in self.intervals.items())

    @property
    def active(self) -> bool:
        """Whether some models might not pass."""
        return bool(self.search.split()) or any(ends != OPEN for ends in self.intervals.values())

    @property
    def count(self) -> int:
        """How many conditions there are."""
        return sum(ends != OPEN for ends in self.intervals.values()) + bool(self.search.split())

    def with_(self, metric: str, ends: Interval = OPEN) -> Filters:
        """With another interval of a metric."""
        return Filters({**self.intervals, metric: ends}, self.search)

    def without(self, metric: str) -> Filters:
        """With no interval of a metric."""
        return Filters({name: ends for name, ends in self.intervals.items() if name != metric}, self.search)


def passing(snapshot: Snapshot, filters: Filters) -> list[str]:
    """The models that pass, in the order of the snapshot."""
    if not filters.active:
        return list(snapshot.models)
    low = {metric: ends[0] for metric, ends in filters.intervals.items() if ends[0] is not None}
    high = {metric: ends[1] for metric, ends in filters.intervals.items() if ends[1] is not None}
    return snapshot.once(
        ("passing", filters.text, filters.search),
        lambda: compare.passing(snapshot.views, at_least=low, at_most=high, search=filters.search),
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _text(end: float | None) -> str:
    return "" if end is None else f"{end:.9g}"
