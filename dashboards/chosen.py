"""Which models a page of comparisons shows, and against which base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cc_ray.compare.labels import letter
from cc_ray.errors import NotComparableError
from dashboards import markup
from dashboards.markup import esc
from dashboards.session import Session
from dashboards.snapshot import Snapshot
from dashboards.theme import SERIES, css, text_on

BASE_BADGE: Final = '<b class="badge base">◆</b>'
"""The mark of the base."""
SIDE_BY_SIDE: Final = len(SERIES)
"""Models that are shown side by side at most; tables show all."""


@dataclass(frozen=True)
class Chosen:
    """Models beside a base."""

    ids: tuple[str, ...]
    """The models, the base left out."""
    base: str
    selected: bool
    """Whether the user selected them; else they are a suggestion."""

    @property
    def shown(self) -> tuple[str, ...]:
        """Those that have room side by side."""
        return self.ids[:SIDE_BY_SIDE]


def chosen(session: Session) -> Chosen | None:
    """The selected models against the chosen base, else against the base model of the first; None in an empty store.

    Where nothing is selected, a suggestion stands in.
    """
    return of_selection(session.snapshot, [row["model_id"] for row in session.selected], session.state.base)


def of_selection(snapshot: Snapshot, selection: Sequence[str], base: str) -> Chosen | None:
    """As `chosen`, of models of the snapshot and the base that was asked for; "" or an unknown one for none."""
    selected = bool(selection)
    ids = list(selection) or suggestion(snapshot)
    if not ids:
        return None
    base = base if base in snapshot.models else snapshot.models[ids[0]]["root"]
    task = snapshot.models[base]["task_id"]
    others = tuple(id for id in ids if id != base and snapshot.models[id]["task_id"] == task)
    return Chosen(others, base, selected)


def suggestion(snapshot: Snapshot, count: int = 3) -> list[str]:
    """For who has selected none: the first recommended models of one base, else the last models of one."""
    try:
        best = [row["model_id"] for row in snapshot.recommended]
    except NotComparableError:
        best = []
    candidates = [id for id in (*best, *reversed(snapshot.models)) if snapshot.models[id]["operation"] is not None]
    of_one_base = [id for id in candidates if snapshot.models[id]["root"] == snapshot.models[candidates[0]]["root"]]
    return list(dict.fromkeys(of_one_base))[:count]


def badge(place: int) -> str:
    """The mark of a model: a letter on its colour."""
    if place >= SIDE_BY_SIDE:
        return ""
    return f'<b class="badge" style="{badge_style(place)}">{letter(place)}</b>'


def badge_style(place: int) -> str:
    """The colours of a mark with a letter."""
    return f"background:{css(SERIES[place])};color:{text_on(SERIES[place])}"


def head(session: Session, now: Chosen) -> str:
    """The bar above a page of comparisons: the models, each to be left out, and the base."""
    snapshot = session.snapshot
    names = {id: snapshot.labels.name(id) for id in _bases(snapshot, now)}
    short = snapshot.labels.apart(now.shown)
    pills = "".join(_pill(snapshot, id, short[id], place, now.selected) for place, id in enumerate(now.shown))
    more = len(now.ids) - len(now.shown)
    rest = f'<span class="soft">and {more} more</span>' if more else ""
    hint = "" if now.selected else '<span class="hint">A suggestion: select models on the Overview.</span>'
    base = f"{BASE_BADGE}{markup.select('base', 'Base', names, now.base)}"
    return f'<div class="bar">{base}{pills}{rest}{hint}</div>'


def _bases(snapshot: Snapshot, now: Chosen) -> list[str]:
    """Base models, ancestors of the chosen ones, and these themselves: what one would compare with."""
    found = {id: None for id, row in snapshot.models.items() if row["operation"] is None}
    for id in now.ids:
        parent = snapshot.models[id]["parent"]
        while parent in snapshot.models:
            found[parent] = None
            parent = snapshot.models[parent]["parent"]
    return list(dict.fromkeys([*found, *now.ids, now.base]))


def _pill(snapshot: Snapshot, id: str, short: str, place: int, removable: bool) -> str:
    name = esc(snapshot.labels.name(id))
    cross = f'<button data-do="drop" data-model="{id}" data-key="drop-{id}" aria-label="Leave out">×</button>'
    end = cross if removable else ""
    return f'<span class="pill" data-tip="{name}">{badge(place)}<span>{esc(short)}</span>{end}</span>'


def drop(session: Session, ids: Sequence[str]) -> None:
    """Take models out of the selection."""
    session.state.selection = [id for id in session.state.selection if id not in ids]
