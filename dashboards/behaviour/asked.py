"""What the page asks of the answers: which models, which measure, which instances."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cc_ray.compare.labels import points_text
from cc_ray.wording import NOTHING, format_change, format_value
from dashboards.behaviour.terms import MEASURES, Measure
from dashboards.chosen import Chosen
from dashboards.session import Session
from dashboards.snapshot import Snapshot
from dashboards.state import State, short

Interval = tuple[float, float]

_INTERVAL: Final = re.compile(r"([0-9a-zA-Z_-]+):([^:,]+)\.\.([^:,]+)")


@dataclass(frozen=True)
class Asked:
    """The choices of one moment, as questions take them."""

    snapshot: Snapshot
    now: Chosen
    measure: Any
    kind: Any
    label: int | None
    where: str
    between: Mapping[str, Interval]
    """Intervals kept, by model_id."""

    @classmethod
    def of(cls, snapshot: Snapshot, state: State, now: Chosen) -> Asked:
        """What choices ask of a snapshot."""
        label = int(state.label) if state.label.isdecimal() else None
        # Measures that compare two models are taken in one way.
        kind = state.kind if MEASURES[state.measure].alone else "difference"
        between = {id: ends for id, ends in read(state.kept, snapshot).items() if id in now.ids}
        return cls(snapshot, now, state.measure, kind, label, state.where, between)

    @property
    def shown(self) -> Measure:
        """The measure on the screen."""
        return MEASURES[self.measure]

    @property
    def filters(self) -> dict[str, Any]:
        """Which instances, as arguments of the questions."""
        between = dict(self.between)
        return {"label": self.label, "where": self.where, "between": between, "kind": self.kind}

    def focus(self, chosen: str) -> str:
        """The model that is looked at alone: the chosen one, else the least accurate."""
        if chosen in self.now.ids:
            return chosen
        rows = {id: self.snapshot.models[id].get("accuracy") for id in self.now.ids}
        known = {id: float(value) for id, value in rows.items() if value is not None}
        return min(known, key=lambda id: known[id]) if known else self.now.ids[0]

    def names(self) -> dict[str, str]:
        """Short names of the base and the models, which tell them apart."""
        return self.snapshot.labels.apart([self.now.base, *self.now.ids])

    def written(self, value: float | None) -> str:
        """A value of the measure as it is taken."""
        if self.kind == "ratio":
            return f"× {value:.3g}" if value is not None and math.isfinite(value) else "–"
        if self.kind == "difference" and self.shown.alone:
            return format_change(value, self.shown.format)
        return format_value(value, self.shown.format)


def brief(change: float | None, shown: Measure) -> str:
    """A change in few characters: points without saying so, nothing for what rounds to nothing."""
    if change is None or math.isnan(change):
        return NOTHING
    if shown.format == "percent":
        return points_text(100 * change)
    return format_change(change, shown.format)


def read(text: str, snapshot: Snapshot) -> dict[str, Interval]:
    """Intervals by model_id out of the address; what cannot be read is left out."""
    found = {}
    for model, low, high in _INTERVAL.findall(text):
        try:
            ends = float(low), float(high)
        except ValueError:
            continue
        if model in snapshot.known and ends[0] <= ends[1]:
            found[snapshot.known[model]] = ends
    return found


def write(kept: Mapping[str, Interval]) -> str:
    """Intervals as the address holds them."""
    return ",".join(f"{short(id)}:{low:.9g}..{high:.9g}" for id, (low, high) in kept.items())


def brushed(session: Session, model_id: str, low: float | None, high: float | None) -> str:
    """The intervals with one model's changed, or taken away without ends."""
    kept = read(session.state.kept, session.snapshot)
    kept.pop(model_id, None)
    if low is not None and high is not None:
        kept[model_id] = (low, high)
    return write(kept)
