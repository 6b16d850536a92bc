"""The fewest variables that explain how the recipes of models differ.

First every trait of the recipes is written down: the base model, each operation's presence, its parameters, the order
of operations. Traits that are the same in all models say nothing and go.

Then traits are folded together as long as the joint variable adds no more values than its parts do one by one: with d
and e distinct values, at most d + e - 1 pairs occur. That holds where two traits always vary together, where one
follows from the other, where each is there only without the other (different children of one model), and where they
are cumulative (one is there only on top of the other). It does not hold where they vary freely: a grid stays a grid.
Because lacking a trait says nothing of how it varies, the same must hold among the models that have both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import Row, known, positions, remembered
from cc_ray.compare.recipes.traits import Trait, axis_order, combined, is_number, label, lacking, made_of, traits
from cc_ray.views import Views

Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]

VARIABLES: Final = pa.schema(
    {
        "variable": pa.string(),
        "kind": pa.string(),
        "distinct": pa.int64(),
        "values": pa.list_(pa.string()),
        "members": pa.list_(pa.string()),
    }
)


@dataclass(frozen=True)
class Differences:
    """How models differ in the way they were made."""

    table: pa.Table
    """A row per model in the order asked for: model_id, name, and a column per variable: numbers for numeric parameters
    and seeds, true or false for presence, else texts; null where the model lacks it."""
    labels: pa.Table
    """The same with every value as the text that stands on an axis."""
    variables: pa.Table
    """A row per variable, most values first: variable, kind (task, base, seed, presence, parameter, order or
    combination), distinct, values (labels in the order of an axis: none first, numbers by size), members (names of the
    traits folded into it)."""


def differences(views: Views, ids: Iterable[str]) -> Differences:
    """Find the variables that explain how models differ; any number of models has an answer.

    Args:
        views: The store.
        ids: Models.

    Raises:
        ModelNotFoundError: If the store has no such model.
    """
    wanted = known(views, ids)
    found = _recipes(views, wanted)
    pairs = zip(found["task"].to_pylist(), found["recipe"].to_pylist(), strict=True)
    made = made_of((task, json.loads(recipe)) for task, recipe in pairs)
    variables = sorted(fold(traits(made)), key=lambda variable: -variable.distinct)
    head = {"model_id": pa.array(wanted, pa.string()), "name": found["name"].combine_chunks()}
    return Differences(
        pa.table(head | {variable.name: variable.column for variable in variables}),
        pa.table(head | {variable.name: variable.label_column for variable in variables}),
        pa.Table.from_pylist([variable.row for variable in variables], VARIABLES),
    )


@dataclass(frozen=True, eq=False)
class Variable:
    """One trait, or several as one."""

    members: tuple[Trait, ...]
    codes: Codes
    """Number of each model's value, from 0."""
    empty: Flags
    """Whether each model lacks all of the traits."""

    @classmethod
    def of(cls, trait: Trait) -> Variable:
        """A trait as a variable."""
        codes = {value: code for code, value in enumerate(dict.fromkeys(trait.values))}
        return cls(
            (trait,),
            np.array([codes[value] for value in trait.values], np.int64),
            np.array([lacking(value) for value in trait.values], bool),
        )

    @cached_property
    def distinct(self) -> int:
        """Number of different values."""
        return int(self.codes.max()) + 1

    @property
    def name(self) -> str:
        """Names of the traits, three of them at most."""
        names = [member.name for member in self.members]
        return " & ".join(names if len(names) < 4 else [*names[:3], f"{len(names) - 3} more"])

    @property
    def kind(self) -> str:
        """Kind of the trait, or that it is a combination."""
        return self.members[0].kind if len(self.members) == 1 else "combination"

    @property
    def column(self) -> pa.Array:
        """Each model's value."""
        values = self.members[0].values
        if self.kind == "presence":
            return pa.array(values, pa.bool_())
        if len(self.members) == 1 and all(value is None or is_number(value) for value in values):
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        return pa.array([None if lacks else self.labels[code] for code, lacks in self._models], pa.string())

    @property
    def label_column(self) -> pa.Array:
        """Each model's label."""
        return pa.array([self.labels[code] for code, _ in self._models], pa.string())

    @property
    def row(self) -> Row:
        """Row of `VARIABLES`."""
        return {
            "variable": self.name,
            "kind": self.kind,
            "distinct": self.distinct,
            "values": [self.labels[code] for code in sorted(self._values, key=lambda c: axis_order(self._values[c]))],
            "members": [member.name for member in self.members],
        }

    @cached_property
    def labels(self) -> dict[int, str]:
        """Label of each code."""
        if len(self.members) == 1:
            return {code: label(value) for code, (value,) in self._values.items()}
        return {code: combined(self.members, values) for code, values in self._values.items()}

    @cached_property
    def _values(self) -> dict[int, tuple[Any, ...]]:
        """The traits' values that each code stands for."""
        codes, first = np.unique(self.codes, return_index=True)
        found = zip(codes.tolist(), first.tolist(), strict=True)
        return {code: tuple(member.values[index] for member in self.members) for code, index in found}

    @property
    def _models(self) -> Iterable[tuple[int, bool]]:
        return zip(self.codes.tolist(), self.empty.tolist(), strict=True)


def fold(found: list[Trait]) -> list[Variable]:
    """Fold traits into as few variables as the rule of this module allows, the closest first."""
    variables = [Variable.of(trait) for trait in found]
    place = {trait: index for index, trait in enumerate(found)}
    costs: dict[tuple[Variable, Variable], int | None] = {}
    while True:
        open_pairs = []
        for near, (i, j) in enumerate(combinations(range(len(variables)), 2)):
            pair = variables[i], variables[j]
            cost = costs[pair] if pair in costs else costs.setdefault(pair, excess(*pair))
            if cost is not None:
                open_pairs.append((cost, j - i, near, pair))
        if not open_pairs:
            return variables
        first, second = min(open_pairs, key=lambda candidate: candidate[:3])[3]
        variables[variables.index(first)] = _joined(first, second, place)
        variables.remove(second)


def excess(first: Variable, second: Variable) -> int | None:
    """How many values a joint variable has more than the larger of both; None where they vary freely."""
    pairs = _pairs(first, second, None)
    if pairs > first.distinct + second.distinct - 1:
        return None
    both = ~(first.empty | second.empty)
    if _pairs(first, second, both) > max(1, _count(first.codes[both]) + _count(second.codes[both]) - 1):
        return None
    return pairs - max(first.distinct, second.distinct)


def _pairs(first: Variable, second: Variable, among: Flags | None) -> int:
    """How many different pairs of values occur."""
    joint = first.codes * second.distinct + second.codes
    return _count(joint if among is None else joint[among])


def _count(codes: Codes) -> int:
    """How many different codes occur."""
    if not len(codes):
        return 0
    # Counting into bins is much faster than sorting, as long as the bins are few.
    if codes.max() < 8 * len(codes) + 1_000:
        return int(np.count_nonzero(np.bincount(codes)))
    return len(np.unique(codes))


def _joined(first: Variable, second: Variable, place: dict[Trait, int]) -> Variable:
    joint = first.codes * (second.codes.max() + 1) + second.codes
    codes = np.unique(joint, return_inverse=True)[1].astype(np.int64)
    members = sorted((*first.members, *second.members), key=place.__getitem__)
    return Variable(tuple(members), codes, first.empty & second.empty)


def _recipes(views: Views, ids: list[str]) -> pa.Table:
    text = """
        SELECT DISTINCT ON (model_id) model_id, name, recipe, coalesce(tasks.task, models.task_id) AS task
        FROM models
        LEFT JOIN tasks USING (task_id)
        ORDER BY model_id
    """
    place = positions(views)
    everything = remembered(views, "recipes", lambda: views.sql(text))
    return everything.take(pa.array([place[model_id] for model_id in ids], pa.int64()))
