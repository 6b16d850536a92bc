"""What the rules look at: the models of one task, each beside its parent and its base, read in a few queries."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Final

import pyarrow as pa

from cc_ray.compare.asking import Row, marks, rows
from cc_ray.compare.insights.changes import Change, counted, unpaired
from cc_ray.compare.insights.roles import Roles, roles
from cc_ray.compare.labels import Labels
from cc_ray.views import Views
from cc_ray.wording import format_value

USEFUL: Final = 0.5
"""A model with less than this part of the best one's quality has not learnt the task, or has nothing left to lose."""

CELL_ROWS: Final = 6_000_000
"""How many answers are laid side by side at once, about."""
_CELLS: Final = """
    WITH answers AS MATERIALIZED (
        SELECT place, instance, label, prediction, correct
        FROM predictions
        JOIN places USING (model_id)
        -- Generated text has no class.
        WHERE label IS NOT NULL {only}
    )
    SELECT
        pairing, own.label, other."prediction" AS before, own.prediction AS after,
        other.correct AS was_right, own.correct AS is_right, count(*) AS n
    FROM pairings
    JOIN answers AS own ON own.place = pairings.own
    JOIN answers AS other ON other.place = pairings.other AND other.instance = own.instance
    GROUP BY ALL
"""
_COUNTS: Final = """
    sum(n)::BIGINT AS n,
    coalesce(sum(n) FILTER (is_right), 0)::BIGINT AS correct,
    coalesce(sum(n) FILTER (was_right), 0)::BIGINT AS other_correct,
    coalesce(sum(n) FILTER (was_right AND NOT is_right), 0)::BIGINT AS lost,
    coalesce(sum(n) FILTER (is_right AND NOT was_right), 0)::BIGINT AS gained,
    coalesce(sum(n) FILTER (before <> after), 0)::BIGINT AS differing
"""


@dataclass(frozen=True)
class Pairing:
    """A model and another one that it is set beside."""

    model_id: str
    other: str
    relation: str
    """parent, base or order (the same steps in another order)."""


class Scene:
    """One task's models and how each stands to its relatives.

    Args:
        views: The store.
        models: Rows of `compare.models`, of one task, by model_id.
        wanted: The models that insights are to be about.
        base: The model to compare with instead of each one's own base model.
        labels: Names of the store's models.
        definitions: Rows of `metric_definitions` by metric.
    """

    def __init__(
        self,
        views: Views,
        models: Mapping[str, Row],
        wanted: Collection[str],
        base: str | None,
        labels: Labels,
        definitions: Mapping[str, Row],
    ) -> None:
        self.views = views
        self.models = models
        about = set(wanted)
        self.wanted = [model_id for model_id in models if model_id in about]
        self.labels = labels
        self.definitions = definitions
        self._base = base

    @cached_property
    def roles(self) -> Roles:
        """Which metric is quality, size and so on."""
        present = {name for row in self.models.values() for name in self.definitions if row.get(name) is not None}
        return roles(self.definitions.values(), present)

    @cached_property
    def pairings(self) -> list[Pairing]:
        """Every wanted model beside its parent, its base, and those of the same steps in another order."""
        found = []
        for model_id in self.wanted:
            row, base = self.models[model_id], self.base(model_id)
            if row["parent"] in self.models:
                found.append(Pairing(model_id, row["parent"], "parent"))
            # Beside one that has not learnt the task, nothing is lost.
            if base in self.models and base != model_id and (self._base or self.has_learnt(base)):
                found.append(Pairing(model_id, base, "base"))
        return [*found, *self._reordered()]

    def base(self, model_id: str) -> str:
        """What a model is compared with in the end: its base model, unless another base was asked for.

        A base model that never learnt the task (less than half of the best quality) is no measure of a loss: its
        oldest descendant on the way to the model that did takes its place.
        """
        return self._base or self._learnt.get(model_id, str(self.models[model_id]["root"]))

    @cached_property
    def _learnt(self) -> dict[str, str]:
        """Of each model that comes from one that learnt the task, the oldest such."""
        found: dict[str, str] = {}
        metric = self.roles.quality
        for model_id, row in sorted(self.models.items(), key=lambda item: item[1]["step_index"]):
            if row["parent"] in found:
                found[model_id] = found[row["parent"]]
            elif metric and row.get(metric) is not None and self.has_learnt(model_id):
                found[model_id] = model_id
        return found

    def has_learnt(self, model_id: str) -> bool:
        """Whether a model's quality is a good part of the best one's; taken for granted where it is not known."""
        value = self.models[model_id].get(self.roles.quality or "")
        return value is None or value >= USEFUL * self.best

    @cached_property
    def changes(self) -> dict[tuple[str, str], Change]:
        """Change of quality by model and relation (parent, base); over predictions where both have them."""
        return {(c.model_id, c.relation): c for c in self._changes if c.relation != "order"}

    @cached_property
    def reordered(self) -> list[Change]:
        """Change of quality between two models of the same steps in another order."""
        return [change for change in self._changes if change.relation == "order"]

    @cached_property
    def by_part(self) -> list[Change]:
        """Change of quality against the base, by model and slice."""
        predicted = self._counted("label, ", relation="base")
        named = [{**row, "part": self.class_name(row["label"]), "part_label": row["label"]} for row in predicted]
        answered = {row["model_id"] for row in predicted}
        return [*counted(named), *self._recorded_parts(answered)]

    @cached_property
    def cells(self) -> pa.Table:
        """Counts of instances by pairing (place in `pairings`), label, both predictions and whether each was right."""
        found = [self._cells(places) for places in self._parts()]
        return pa.concat_tables(found) if found else self._cells([])

    def _parts(self) -> Iterator[list[int]]:
        """Places of pairings, those of a model and of its siblings together, whose answers fit into memory."""
        each = self.views.dataset("predictions").count_rows() / len(self.models)
        most = max(1, int(CELL_ROWS / max(1, each)))
        by_model: dict[str, list[int]] = defaultdict(list)
        for at, pairing in sorted(enumerate(self.pairings), key=lambda item: item[1].other):
            by_model[pairing.model_id].append(at)
        groups = list(by_model.values())
        for start in range(0, len(groups), most):
            yield [at for group in groups[start : start + most] for at in group]

    def _cells(self, pairings: Sequence[int]) -> pa.Table:
        chosen = [self.pairings[at] for at in pairings]
        ids = sorted({id for pairing in chosen for id in (pairing.model_id, pairing.other)})
        place = {model_id: at for at, model_id in enumerate(ids)}
        only = f"AND model_id IN {marks(ids)}" if len(ids) < len(self.models) else ""
        tables = {
            "places": pa.table(
                {"model_id": pa.array(ids, pa.string()), "place": pa.array(range(len(ids)), pa.int32())}
            ),
            "pairings": _columns(
                pairing=pairings,
                own=[place[pairing.model_id] for pairing in chosen],
                other=[place[pairing.other] for pairing in chosen],
            ),
        }
        return self.views.sql(_CELLS.format(only=only), ids if only else [], tables)

    def ask_cells(self, text: str) -> list[Row]:
        """Answer a question about `cells`, and `of_base`: the places of pairings with the base.

        Rows with a column `pairing` get model_id, other and relation.
        """
        of_base = [at for at, pairing in enumerate(self.pairings) if pairing.relation == "base"]
        tables = {"cells": self.cells, "of_base": _columns(pairing=of_base)}
        found = self.views.sql(text, [], tables).to_pylist()
        return [{**row, **vars(self.pairings[row["pairing"]])} for row in found]

    def called(self, model_id: str) -> str:
        """A model in few words: its last step, what came before it, and its base."""
        row = self.models[model_id]
        last, parent = self.labels.last(model_id), row["parent"]
        if row["operation"] is None or parent not in self.models:
            return last
        before = self.models[parent]
        after = f" after {self.labels.last(parent)}" if before["operation"] is not None else ""
        return f"{last}{after} ({row['base']})"

    def step(self, model_id: str) -> str:
        """A model's last step alone."""
        return self.labels.last(model_id)

    def label(self, metric: str) -> str:
        """A metric's name within a sentence."""
        text = str(self.definitions[metric]["label"])
        return text if text[1:] != text[1:].lower() else text[:1].lower() + text[1:]

    def write(self, metric: str, value: float) -> str:
        """A metric's value with its unit."""
        definition = self.definitions[metric]
        text, unit = format_value(value, definition["format"]), definition["unit"]
        return f"{text} {unit}" if definition["format"] == "number" and unit else text

    def interval(self, model_id: str, metric: str) -> tuple[float, float] | None:
        """A metric's interval, if it has one."""
        low, high = (self.models[model_id].get(f"{metric}_{end}") for end in ("low", "high"))
        return None if low is None or high is None else (low, high)

    def ends(self, model_id: str, metric: str) -> tuple[float, float]:
        """A metric's interval; without one the value on both sides."""
        value = self.models[model_id][metric]
        return self.interval(model_id, metric) or (value, value)

    def children(self) -> dict[str, list[str]]:
        """Wanted models by parent."""
        found: dict[str, list[str]] = defaultdict(list)
        for model_id in self.wanted:
            found[self.models[model_id]["parent"]].append(model_id)
        return found

    @cached_property
    def best(self) -> float:
        """The task's best quality; 0 where it has none."""
        metric = self.roles.quality
        values = [row[metric] for row in self.models.values() if metric and row.get(metric) is not None]
        return max(values, default=0.0)

    @cached_property
    def classes(self) -> list[str]:
        """The task's class names."""
        task = next(iter(self.models.values()))["task_id"]
        found = rows(self.views, "SELECT class_names FROM tasks WHERE task_id = ?", [task])
        return list(found[0]["class_names"]) if found else []

    @cached_property
    def class_count(self) -> int:
        """Number of classes: those that have names, or those that occur where more do."""
        occurring = {label for name in ("label", "before", "after") for label in self.cells[name].unique().to_pylist()}
        return max(len(self.classes), len(occurring))

    def class_name(self, label: int) -> str:
        """A class's name; its index where it has none."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)

    @cached_property
    def _changes(self) -> list[Change]:
        found = counted(self._counted(""))
        answered = {(change.model_id, change.other) for change in found}
        others = [pairing for pairing in self.pairings if (pairing.model_id, pairing.other) not in answered]
        return [*found, *(change for pairing in others for change in self._recorded(pairing))]

    def _counted(self, by: str, relation: str = "") -> list[Row]:
        only = "SEMI JOIN of_base USING (pairing)" if relation == "base" else ""
        return self.ask_cells(f"SELECT pairing, {by}{_COUNTS} FROM cells {only} GROUP BY ALL ORDER BY ALL")

    def _recorded(self, pairing: Pairing) -> Iterator[Change]:
        metric = self.roles.quality
        if metric is not None:
            yield from self._of_metric(pairing, metric, self.label(metric))

    def _of_metric(self, pairing: Pairing, metric: str, label: str) -> Iterator[Change]:
        value, other = self.models[pairing.model_id].get(metric), self.models[pairing.other].get(metric)
        if value is None or other is None:
            return
        change = Change(
            pairing.model_id, pairing.other, pairing.relation, metric, label, value, other, None, None, None
        )  # fmt: skip
        yield unpaired(change, self.interval(pairing.model_id, metric), self.interval(pairing.other, metric))

    def _recorded_parts(self, answered: Collection[str]) -> Iterator[Change]:
        pairings = [pairing for pairing in self.pairings if pairing.relation == "base"]
        for pairing in pairings:
            if pairing.model_id not in answered:
                for part, metric in self.roles.parts.items():
                    for change in self._of_metric(pairing, metric, self.label(metric)):
                        yield replace(change, metric=self.roles.quality or "", part=part, part_metric=metric)
        yield from self._slices([pairing for pairing in pairings if pairing.model_id not in answered])

    def _slices(self, pairings: Sequence[Pairing]) -> Iterator[Change]:
        metric = self.roles.quality
        if metric is None or not pairings:
            return
        text = """
            SELECT
                pairing, own.slice AS slice, own.value AS value, other.value AS other_value,
                own.ci_low AS low, own.ci_high AS high, other.ci_low AS other_low, other.ci_high AS other_high
            FROM judged
            JOIN metrics AS own ON own.model_id = judged.model_id AND own.metric = ? AND own.slice <> 'all'
            JOIN metrics AS other
                ON other.model_id = judged.other AND other.metric = own.metric AND other.slice = own.slice
                AND other.split = own.split AND other.device = own.device
            ORDER BY pairing, slice
        """
        judged = _columns(pairing=range(len(pairings)))
        for name in ("model_id", "other"):
            judged = judged.append_column(name, pa.array([getattr(pairing, name) for pairing in pairings], pa.string()))
        for row in self.views.sql(text, [metric], {"judged": judged}).to_pylist():
            pairing = pairings[row["pairing"]]
            change = Change(
                pairing.model_id, pairing.other, "base", metric, self.label(metric), row["value"], row["other_value"],
                None, None, None, part=row["slice"],
            )  # fmt: skip
            yield unpaired(change, _interval(row, ""), _interval(row, "other_"))

    def _reordered(self) -> Iterator[Pairing]:
        alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        for model_id in self.wanted:
            steps = self._steps(model_id)
            if len(steps) > 1:
                row = self.models[model_id]
                alike[row["base"], row["root"], tuple(sorted(steps))].append(model_id)
        for ids in alike.values():
            for one, other in combinations(ids, 2):
                if self._steps(one) != self._steps(other):
                    yield Pairing(one, other, "order")

    def _steps(self, model_id: str) -> tuple[tuple[str, str], ...]:
        found = []
        row = self.models.get(model_id)
        while row is not None and row["operation"] is not None:
            found.append((row["operation"], json.dumps(self.labels.parameters[row["model_id"]], sort_keys=True)))
            row = self.models.get(row["parent"])
        return tuple(reversed(found))


def _columns(**values: Any) -> pa.Table:
    return pa.table({name: pa.array(column, pa.int32()) for name, column in values.items()})


def _interval(row: Row, prefix: str) -> tuple[float, float] | None:
    low, high = row[f"{prefix}low"], row[f"{prefix}high"]
    return None if low is None or high is None else (low, high)
