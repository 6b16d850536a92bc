"""What the class table and the map of changes are made from, asked in one go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cc_ray import compare
from dashboards.behaviour.asked import Asked
from dashboards.snapshot import Row

SIGNIFICANT: float = 0.05


@dataclass(frozen=True)
class Averages:
    """Means of a measure by model and class (or slice)."""

    asked: Asked
    groups: dict[str, str]
    """Name by key of each class or slice, in order."""
    cells: dict[tuple[str, str], Row]
    """By model_id and key, as `compare.measures` gives them."""
    total: dict[str, Row]
    """By model_id, over all instances."""
    bins: dict[str, list[Row]]
    """By model_id, as `compare.measure_distribution` gives them."""
    moved: dict[str, Row | None]
    """The most frequent change of prediction, or prediction, of the models side by side."""
    by_class: bool

    def answers(self, asked: Asked, grouped: str) -> bool:
        """Whether these are the means that are asked for."""
        own = self.asked
        same = own.snapshot is asked.snapshot and own.now == asked.now and own.between == asked.between
        alike = (own.measure, own.kind, own.where) == (asked.measure, asked.kind, asked.where)
        return same and alike and self.by_class == (grouped == "class")

    def key(self, row: Row) -> str:
        """What a row is about."""
        return str(row["label"]) if self.by_class else str(row["slice"])

    def ordered(self, rank: tuple[str, bool] | None) -> list[str]:
        """Keys of the groups, by one model's values where that is asked for.

        Args:
            rank: model_id, and whether the smallest comes first.
        """
        keys = list(self.groups)
        if rank is None:
            return keys
        model_id, rising = rank
        there = [key for key in keys if (model_id, key) in self.cells and self.value(model_id, key) is not None]
        there.sort(key=lambda key: self._weight(model_id, key), reverse=not rising)
        return [*there, *(key for key in keys if key not in set(there))]

    def value(self, model_id: str, key: str) -> float | None:
        """The measure as it is taken, of one class and model."""
        row = self.cells.get((model_id, key))
        return None if row is None else taken(self.asked, row)

    def _weight(self, model_id: str, key: str) -> float:
        value = self.value(model_id, key) or 0.0
        return abs(value) if self.asked.kind == "difference" else value


def taken(asked: Asked, row: Row) -> float | None:
    """The measure as it is taken, out of a row of `compare.measures`."""
    column = {"difference": "difference", "absolute": "absolute_difference", "ratio": "ratio"}.get(asked.kind, "mean")
    value: float | None = row["mean" if not asked.shown.alone else column]
    return value


def averages(asked: Asked, grouped: str) -> Averages:
    """Ask for the means by class or slice.

    Raises:
        NotComparableError: If a model has no predictions of classes.
        QueryError: If the condition cannot be answered.
    """
    by_class = grouped == "class"
    views, base = asked.snapshot.views, asked.now.base
    ids = [base, *asked.now.ids]
    arguments: dict[str, Any] = {**asked.filters, "label": None}
    rows = compare.measures(
        views, ids, base, asked.measure, by_class=by_class, by_slice=not by_class, **arguments
    ).to_pylist()
    total = compare.measures(views, ids, base, asked.measure, **arguments).to_pylist()
    bins: dict[str, list[Row]] = {}
    for row in compare.measure_distribution(
        views, ids, base, asked.measure, asked.kind, where=asked.where, between=dict(asked.between)
    ).to_pylist():
        bins.setdefault(row["model_id"], []).append(row)
    ask: Callable[..., Any] = compare.frequent_predictions if asked.kind == "value" else compare.prediction_changes
    moved = {
        id: next(iter(ask(views, id, base, 1, measure=asked.measure, **arguments).to_pylist()), None)
        for id in asked.now.shown
    }
    names = {(str(row["label"]) if by_class else row["slice"]): (row["label_name"] or row["slice"]) for row in rows}
    order = sorted(names, key=lambda key: (int(key), key) if by_class else (0, key))
    cells = {(row["model_id"], str(row["label"]) if by_class else row["slice"]): row for row in rows}
    return Averages(
        asked,
        {key: names[key] for key in order},
        cells,
        {row["model_id"]: row for row in total},
        bins,
        moved,
        by_class,
    )
