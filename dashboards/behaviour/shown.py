"""What each card of the Behaviours page shows, as questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dashboards.behaviour.asked import Asked
from dashboards.behaviour.flow import MOST_FLOWS
from dashboards.sharing.shown import Shown, asked
from dashboards.state import State

MOVES = 5
"""Changes of prediction that are listed of a model."""


def sums(now: Asked, *, generated: bool) -> list[Shown]:
    """Of what every model lost and gained."""
    question = "generation" if generated else "behaviours"
    return [asked("Behaviours", question, ids=now.now.ids, base=now.now.base)]


def outcomes(now: Asked) -> list[Shown]:
    """Of what became of the base's answers."""
    names = now.names()
    moved = [
        asked(f"Changes of {names[id]}", "prediction_changes", model=id, base=now.now.base, limit=MOVES)
        for id in now.now.shown
    ]
    return [asked("Outcomes", "outcomes", ids=now.now.ids, base=now.now.base), *moved]


def classes(now: Asked, grouped: str) -> list[Shown]:
    """Of the table of classes or slices, and of the map of changes: they show the same numbers."""
    by: dict[str, Any] = {"by_class": grouped == "class", "by_slice": grouped != "class"}
    ids, base = [now.now.base, *now.now.ids], now.now.base
    filters = _filters(now) | {"label": None}
    title = f"{now.shown.label} by {grouped}"
    return [
        asked(title, "measures", ids=ids, base=base, measure=now.measure, **by, **filters),
        asked(
            f"Histogram: {now.shown.label}", "measure_distribution", ids=ids, base=base, measure=now.measure, **filters
        ),
    ]


def flips(now: Asked) -> list[Shown]:
    """Of the matrix of flips."""
    return [asked("Flips", "flip_matrix", ids=[now.now.base, *now.now.ids])]


def flow(now: Asked, state: State) -> list[Shown]:
    """Of the flow from the base to a model."""
    model, base = now.focus(state.focus), now.now.base
    name = now.names()[model]
    if state.flow == "class":
        return [asked(f"Changes of {name}", "prediction_changes", model=model, base=base, limit=MOST_FLOWS)]
    return [asked(f"Outcomes of {name}", "outcomes", ids=[model], base=base)]


def pair(right: str, wrong: str) -> list[Shown]:
    """Of the instances that are right under one model and wrong under another."""
    return [asked("Instances lost", "instances", ids=[wrong], base=right, only="lost", sort="change")]


def instances(now: Asked, state: State) -> list[Shown]:
    """Of the browser of instances."""
    ids, base = now.now.shown, now.now.base
    of: dict[str, Any] = {"ids": ids, "base": base, "measure": now.measure, **_filters(now)}
    return [
        asked(f"Instances {state.only}", "instances", only=state.only, sort=state.sort, **of),
        asked(f"Histogram: {now.shown.label}", "measure_distribution", **of),
    ]


def exemplars(now: Asked, population: Sequence[str]) -> list[Shown]:
    """Of the instances that compression changes."""
    return [asked("Exemplars", "exemplars", compressed_ids=population, base_ids=[now.now.base])]


def found_slices(now: Asked, model: str, limit: int) -> list[Shown]:
    """Of the slices that a search found."""
    title = f"Slices of {now.names()[model]}"
    return [asked(title, "worst_slices", model=model, base=now.now.base, limit=limit)]


def written_slice(now: Asked) -> list[Shown]:
    """Of the slice that a condition makes."""
    of: dict[str, Any] = {"ids": now.now.ids, "base": now.now.base, "measure": "correct"}
    return [asked("Slice by condition", "measures", where=now.where, **of)] if now.where else []


def reliability(now: Asked) -> list[Shown]:
    """Of the reliability diagrams."""
    return [asked("Reliability", "reliability", ids=[now.now.base, *now.now.shown])]


def calibration(now: Asked) -> list[Shown]:
    """Of the scores of calibration."""
    return [asked("Calibration", "calibration", ids=[now.now.base, *now.now.ids])]


def texts(now: Asked, state: State) -> list[Shown]:
    """Of the texts that models wrote."""
    only = "changed" if state.only == "disagree" else state.only
    return [asked("Texts", "texts", ids=now.now.shown, base=now.now.base, only=only, sort=state.sort)]


def _filters(now: Asked) -> dict[str, Any]:
    return {name: value for name, value in now.filters.items() if value not in (None, "", {})}
