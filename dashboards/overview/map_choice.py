"""What of the lineage stands on the map, and which sweeps are folded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from cc_ray import compare
from cc_ray.errors import NotComparableError
from dashboards.overview.encoding import Encoding
from dashboards.snapshot import Snapshot
from dashboards.state import State, short

MANY: Final = 120
"""With more models than this sweeps are folded before anyone says so."""


def folds(snapshot: Snapshot, state: State) -> bool:
    """Whether sweeps are folded, but for those that the user unfolded."""
    return state.fold == "yes" or (state.fold == "auto" and len(snapshot.models) > MANY)


def folded(snapshot: Snapshot, state: State) -> frozenset[str]:
    """The sweeps that are one node of the map."""
    if not folds(snapshot, state):
        return frozenset()
    opened = set(state.unfolded.split(","))
    return frozenset(sweep for sweep in sweeps(snapshot) if short(sweep) not in opened)


def sweeps(snapshot: Snapshot) -> list[str]:
    """All sweeps; takes its time where there are many models, and only once."""
    return snapshot.once("sweeps", lambda: list(dict.fromkeys(compare.sweeps(snapshot.views)["sweep"].to_pylist())))


def known(snapshot: Snapshot) -> bool:
    """Whether `sweeps` answers at once."""
    return snapshot.answered("sweeps") is not None


def sweeps_of(snapshot: Snapshot, ids: Iterable[str]) -> frozenset[str]:
    """The sweeps that models are in, of those that `sweeps` found already."""
    of_model = snapshot.once("sweep of model", lambda: _sweep_of_model(snapshot))
    return frozenset(of_model[id] for id in ids if id in of_model)


def _sweep_of_model(snapshot: Snapshot) -> dict[str, str]:
    return {row["model_id"]: row["sweep"] for row in compare.sweeps(snapshot.views).to_pylist()}


def with_turned(state: State, found: Iterable[str], *, fold: bool) -> str:
    """The unfolded sweeps, with these more or, to fold them, less."""
    opened, own = [known for known in state.unfolded.split(",") if known], [short(sweep) for sweep in found]
    others = [known for known in opened if known not in own]
    return ",".join(others if fold else [*others, *sorted(own)])


def turned(state: State, sweep: str) -> str:
    """The unfolded sweeps, with this one more or less."""
    opened = [known for known in state.unfolded.split(",") if known]
    own = short(sweep)
    return ",".join([known for known in opened if known != own] if own in opened else [*opened, own])


def on_map(snapshot: Snapshot, state: State, encoding: Encoding, kept: Sequence[str]) -> frozenset[str] | None:
    """Models that the map shows; None for all."""
    if state.shown == "all":
        return None
    if state.shown == "passing":
        return frozenset(kept)
    metrics = list(dict.fromkeys([encoding.x, encoding.y]))
    try:
        found = compare.front(snapshot.views, metrics, ids=kept).to_pylist()
    except NotComparableError:
        return None
    return frozenset(row["model_id"] for row in found if row["on_front"])
