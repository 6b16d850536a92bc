"""Sweeps on the Model Map: models that differ in one parameter stand side by side as one node."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pandas as pd

from cc_ray import compare
from cc_ray.compare.labels import Labels, title
from cc_ray.views import Views
from dashboards.map_layout import MapLayout

FIRST: Final = 0.17
"""Where in its column the first model of a folded sweep stands; its mark stands before it."""
LAST: Final = 0.72
BESIDE: Final = 0.3
"""How far before its first model the mark of an unfolded sweep stands, in columns."""
NO_HANDLES: Final = pd.DataFrame(
    {"x": np.zeros(0), "y": np.zeros(0)} | {name: np.zeros(0, str) for name in ("sweep", "sign", "tip")}
)


@dataclass(frozen=True)
class Folds:
    """Which nodes of the map stand for which models. A node is named after its first model."""

    members: Mapping[str, Sequence[str]]
    """Models of each node, in the order of the sweep's parameter."""
    stands_for: Mapping[str, str]
    """Node of each model."""
    sweeps: Mapping[str, Sequence[Mapping[str, Any]]]
    """Visible rows of `compare.sweeps` by sweep, folded or not."""
    folded: Collection[str]
    """Sweeps that are one node."""

    @classmethod
    def of(cls, views: Views, folded: Collection[str], visible: Sequence[str]) -> Folds:
        """Fold sweeps as far as their models are visible."""
        among = set(visible)
        sweeps: dict[str, list[Mapping[str, Any]]] = {}
        for row in compare.sweeps(views).to_pylist():
            if row["model_id"] in among:
                sweeps.setdefault(row["sweep"], []).append(row)
        sweeps = {sweep: rows for sweep, rows in sweeps.items() if len(rows) > 1}
        together = {
            id: ids
            for sweep in sweeps
            if sweep in folded
            for ids in [[row["model_id"] for row in sweeps[sweep]]]
            for id in ids
        }
        stands_for = {id: together[id][0] if id in together else id for id in visible}
        members = {id: together.get(id, [id]) for id in visible if stands_for[id] == id}
        return cls(members, stands_for, sweeps, set(folded))

    def places(self, layout: MapLayout) -> dict[str, tuple[float, float]]:
        """Column and row of every visible model."""
        found = {}
        for node, ids in self.members.items():
            column, row = layout.columns[node], -layout.rows[node]
            for place, id in enumerate(ids):
                share = FIRST + (LAST - FIRST) * place / (len(ids) - 1) if len(ids) > 1 else 0.0
                found[id] = (column + share, float(row))
        return found

    def exit(self, node: str, layout: MapLayout) -> float:
        """Column where edges leave a node."""
        return layout.columns[node] + (LAST if len(self.members[node]) > 1 else 0.0)

    def middle(self, node: str) -> str:
        """The model in the middle of a node, which lends edges its colour and width."""
        ids = self.members[node]
        return ids[len(ids) // 2]

    def is_strip(self, id: str) -> bool:
        """Whether a model stands beside others of its sweep."""
        return len(self.members.get(self.stands_for.get(id, ""), ())) > 1

    def label(self, id: str, named: Callable[[str], str]) -> str:
        """What stands beside a model: of a folded sweep only the first has a label, for all."""
        node = self.stands_for.get(id)
        if node is None or (node != id and len(self.members[node]) > 1):
            return ""
        return self._span(id) if len(self.members[node]) > 1 else named(id)

    def step_text(self, node: str, rows: Mapping[str, Mapping[str, Any]], labels: Labels) -> str:
        """The step that made a node's models, with all parameters."""
        given = labels.given(node)
        if len(self.members[node]) > 1:
            varied = self._rows_of[node][0]["parameter"].replace("_", " ")
            given = {name: text for name, text in given.items() if name != varied}
            said = [self._span(node), f"{len(self.members[node])} models"]
        else:
            said = []
        said += [f"{name} {text}" for name, text in given.items()]
        return title(rows[node]["operation"] or "") + (": " if said else "") + ", ".join(said)

    def handles(self, layout: MapLayout) -> pd.DataFrame:
        """A mark a sweep to fold or unfold it."""
        found = []
        for sweep, rows in self.sweeps.items():
            first, one = rows[0]["model_id"], sweep in self.folded
            tip = f"{len(rows)} models that differ in {rows[0]['parameter'].replace('_', ' ')}: click to "
            found.append(
                {
                    "x": layout.columns[self.stands_for[first]] - (0.0 if one else BESIDE),
                    "y": float(-layout.rows[self.stands_for[first]]),
                    "sweep": sweep,
                    "sign": "square_cross" if one else "square_pin",
                    "tip": tip + ("unfold" if one else "fold"),
                }
            )
        return pd.DataFrame(found) if found else NO_HANDLES

    @cached_property
    def _rows_of(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        """Rows of each sweep by the node that it is when it is folded."""
        return {rows[0]["model_id"]: rows for rows in self.sweeps.values()}

    def _span(self, node: str) -> str:
        """The parameter that a sweep varies, and from where to where."""
        rows = self._rows_of[node]
        return f"{rows[0]['parameter'].replace('_', ' ')} {rows[0]['value']} – {rows[-1]['value']}"
