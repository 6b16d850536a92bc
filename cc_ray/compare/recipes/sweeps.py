"""Sweeps: models that were made alike but for one parameter, so that many nodes of the lineage are one thing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from cc_ray.compare.asking import Row, remembered
from cc_ray.compare.labels import value_text
from cc_ray.compare.models import models
from cc_ray.compare.recipes.traits import axis_order
from cc_ray.views import Views

FEWEST: Final = 3
"""Fewer models than this are told apart at a glance."""

SWEEPS: Final = pa.schema(
    {
        "sweep": pa.string(),
        "model_id": pa.string(),
        "place": pa.int64(),
        "size": pa.int64(),
        "operation": pa.string(),
        "parameter": pa.string(),
        "value": pa.string(),
    }
)


def sweeps(views: Views) -> pa.Table:
    """Find the models that differ from their siblings in one parameter of one operation alone; three at least.

    Models that the same step made of a sweep's models are a sweep, too: they differ in the same parameter. A model is
    in one sweep at most, the largest.

    Returns:
        A row per model of a sweep: sweep (model_id of the first), model_id, place (from 0, in order of the value),
        size (number of models), operation (of the last step), parameter, value (as text).
    """
    return remembered(views, "sweeps", lambda: pa.Table.from_pylist(list(_rows(models(views))), SWEEPS))


def _rows(table: pa.Table) -> Iterator[Row]:
    found = _Search(table.select(["model_id", "parent", "operation", "parameters", "step_index"]).to_pylist())
    for members in found.sweeps:
        first = members[0]
        for place, id in enumerate(members):
            parameter, value = found.varying[id]
            yield {
                "sweep": first, "model_id": id, "place": place, "size": len(members),
                "operation": found.models[id]["operation"], "parameter": parameter, "value": value_text(value),
            }  # fmt: skip


class _Search:
    """Sweeps from the base models on: those of the parents decide on those of the children."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.models = {row["model_id"]: row for row in rows}
        self.parameters = {id: json.loads(row["parameters"] or "{}") for id, row in self.models.items()}
        self.sweeps: list[list[str]] = []
        self.varying: dict[str, tuple[str, Any]] = {}
        """Parameter and value by which a model differs from the others of its sweep."""
        self._of: dict[str, str] = {}
        by_step: dict[int, list[str]] = defaultdict(list)
        for id, row in self.models.items():
            if row["operation"] is not None:
                by_step[row["step_index"]].append(id)
        for step in sorted(by_step):
            self._carried_on(by_step[step])
            self._siblings([id for id in by_step[step] if id not in self._of])

    def _carried_on(self, ids: Sequence[str]) -> None:
        """Sweeps whose models one step made of the models of a sweep."""
        groups: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
        for id in ids:
            row = self.models[id]
            if row["parent"] in self._of:
                key = self._of[row["parent"]], row["operation"], _text(self.parameters[id])
                groups[key].setdefault(row["parent"], id)
        for children in groups.values():
            self._add({id: self.varying[parent] for parent, id in children.items()})

    def _siblings(self, ids: Sequence[str]) -> None:
        groups: dict[tuple[str, str], list[str]] = defaultdict(list)
        for id in ids:
            groups[self.models[id]["parent"] or "", self.models[id]["operation"]].append(id)
        for siblings in groups.values():
            left = siblings
            while len(left) >= FEWEST and (found := self._largest(left)):
                self._add(found)
                left = [id for id in left if id not in found]

    def _largest(self, ids: Sequence[str]) -> dict[str, tuple[str, Any]]:
        alike: dict[tuple[str, str], dict[str, tuple[str, Any]]] = defaultdict(dict)
        for id in ids:
            for name, value in self.parameters[id].items():
                others = {other: kept for other, kept in self.parameters[id].items() if other != name}
                alike[name, _text(others)][id] = name, value
        best = max(alike.values(), key=len, default={})
        return best if len(best) >= FEWEST else {}

    def _add(self, members: Mapping[str, tuple[str, Any]]) -> None:
        if len(members) < FEWEST:
            return
        ordered = sorted(members, key=lambda id: (axis_order((_plain(members[id][1]),)), id))
        self.sweeps.append(ordered)
        self.varying |= members
        self._of |= dict.fromkeys(members, ordered[0])


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else value_text(value)


def _text(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, sort_keys=True)
