"""What a report is about: the models, the base, and how they are to be looked at."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final
from urllib.parse import parse_qsl

from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.views import Views
from dashboards.behaviour.asked import Asked
from dashboards.chosen import Chosen, of_selection
from dashboards.overview.encoding import Encoding
from dashboards.snapshot import Snapshot
from dashboards.state import State, short

VERSION_DIGITS: Final = 10


@dataclass(frozen=True)
class Subject:
    """Models beside a base, with the choices of a page of the dashboard."""

    snapshot: Snapshot
    state: State
    now: Chosen
    store: str
    """What the user calls the store."""
    title: str
    notes: str
    made_at: datetime

    @classmethod
    def of(
        cls,
        views: Views,
        *,
        store: str,
        made_at: datetime,
        selection: Sequence[str] = (),
        base: str = "",
        address: str = "",
        title: str = "",
        notes: str = "",
    ) -> Subject:
        """Settle what the report is about.

        Args:
            views: Of the store.
            store: What the user calls it.
            made_at: The time of the report.
            selection: model_id of the models; empty for those of the address, or else a suggestion.
            base: model_id of the base; "" for that of the address, or else the base model of the first.
            address: Of a page of the dashboard, or the query part of it; "" for none.
            title: "" for one that counts the models.
            notes: Plain text.

        Raises:
            ModelNotFoundError: If the address names a model that the store does not have.
            NotComparableError: If there is nothing to compare, or the models are of several tasks.
        """
        snapshot, state = Snapshot(views), State()
        query = address.rpartition("?")[2].partition("#")[0]
        _check_known(query, snapshot)
        state.read(query, snapshot.known)
        given = {"selection": list(selection), "base": base}
        state.param.update(**{name: value for name, value in given.items() if value})
        now = of_selection(snapshot, state.selection, state.base)
        _check_comparable(snapshot, state.selection, now)
        assert now is not None
        return cls(snapshot, state, now, store, title or _usual_title(snapshot, now), notes, made_at)

    @cached_property
    def asked(self) -> Asked:
        """What is asked of the answers."""
        return Asked.of(self.snapshot, self.state, self.now)

    @cached_property
    def encoding(self) -> Encoding:
        """The metrics on the plots."""
        return Encoding.of(self.snapshot, self.state)

    @cached_property
    def names(self) -> dict[str, str]:
        """Short names of the base and the models, which tell them apart."""
        return self.asked.names()

    @property
    def models(self) -> tuple[str, ...]:
        """The base, then the others."""
        return (self.now.base, *self.now.ids)

    @property
    def version(self) -> str:
        """Digits that change whenever the store does."""
        return hashlib.sha256(self.snapshot.views.version.encode()).hexdigest()[:VERSION_DIGITS]

    @property
    def address(self) -> str:
        """The query part of the dashboard's address that shows the same models."""
        return self.state.query(selection=list(self.now.ids), base=self.now.base)

    @property
    def command(self) -> str:
        """What makes the report again, from the store as it is then."""
        words = ["cc-ray", "report", *map(short, self.now.ids), "--base", short(self.now.base), "--store", self.store]
        view = self.state.query(selection=[], base="")
        words += ["--address", view] if view else []
        words += ["--title", self.title] if self.title != _usual_title(self.snapshot, self.now) else []
        return shlex.join(words)


def _usual_title(snapshot: Snapshot, now: Chosen) -> str:
    return f"{len(now.ids)} model{'s' * (len(now.ids) > 1)} compared with {snapshot.labels.name(now.base)}"


def _check_known(query: str, snapshot: Snapshot) -> None:
    given = dict(parse_qsl(query))
    named = [*given.get("selection", "").split(","), given.get("base", "")]
    unknown = [digits for digits in named if digits and digits not in snapshot.known]
    if unknown:
        raise ModelNotFoundError(
            f"the address names {', '.join(unknown)}, which the store does not have: is it the address of another "
            "store's dashboard? Name its --store."
        )


def _check_comparable(snapshot: Snapshot, selection: Sequence[str], now: Chosen | None) -> None:
    if now is None:
        raise NotComparableError(
            "there is nothing to report on: the store has no models, or only base models. `cc-ray run SPACE` makes "
            "some, `cc-ray import` brings others."
        )
    task = snapshot.models[now.base]["task_id"]
    strangers = [short(id) for id in selection if snapshot.models[id]["task_id"] != task]
    if strangers:
        raise NotComparableError(
            f"{', '.join(strangers)} and the base are of different tasks: their measures do not compare. Make a report "
            "for each task."
        )
    if not now.ids:
        raise NotComparableError(
            "a model cannot be compared with itself alone: name a second model, or another --base."
        )
