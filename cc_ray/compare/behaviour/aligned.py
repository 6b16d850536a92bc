"""The answers of several models as arrays, instance beside instance: for questions that weigh many subsets of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cc_ray.compare.asking import AMONG, comparable, rows
from cc_ray.compare.behaviour.loading import Answers, grouped_answers, load_answers
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]
Places = Integers | slice


@dataclass(frozen=True)
class Aligned:
    """What a base, the first, and models answered to the base's n instances."""

    ids: tuple[str, ...]
    """Identity of each model, the base's first."""
    names: tuple[str, ...]
    """Name of each model."""
    instances: Integers
    """Identity of each instance, ascending, (n,)."""
    labels: Integers
    """Index of each true class, (n,)."""
    answered: Flags
    """Whether a model answered an instance, (models, n); the base answered all."""
    columns: Mapping[str, NDArray[Any]]
    """Columns of `predictions` by name, (models, n); 0 where a model did not answer, NaN for null."""

    @cached_property
    def correct(self) -> Flags:
        """Whether a model answered and was right, (models, n)."""
        found: Flags = self.columns["correct"]
        return found

    @cached_property
    def base_correct(self) -> Flags:
        """Whether a model answered what the base was right on, (models, n)."""
        both: Flags = self.answered & self.correct[0]
        return both

    @cached_property
    def lost(self) -> Flags:
        """Whether only the base is right, (models, n)."""
        return self.base_correct & ~self.correct

    @cached_property
    def gained(self) -> Flags:
        """Whether only the model is right, (models, n)."""
        only: Flags = self.correct & ~self.correct[0]
        return only

    def rows(self, ids: Iterable[str]) -> Integers:
        """Position of each model on the first axis."""
        places = {model_id: place for place, model_id in enumerate(self.ids)}
        return np.array([places[model_id] for model_id in ids], np.int64)


def aligned(views: Views, ids: Iterable[str], base: str, columns: Iterable[str] = ("correct",)) -> Aligned:
    """Read the answers of a base and of models.

    Args:
        views: The store.
        ids: Models; the base may be among them.
        base: Model that they are compared with.
        columns: Columns of `predictions` that are numbers or flags; `correct` among them.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If the models are of several tasks, one has no predictions, or none in common with the base.
    """
    wanted = list(dict.fromkeys([base, *comparable(views, ids, base)]))
    names = tuple(columns)
    own = load_answers(views, [base])[base]
    answered = np.zeros((len(wanted), len(own.instances)), bool)
    values = {name: np.zeros(answered.shape, _values(own, name).dtype) for name in names}
    each = (one for group in grouped_answers(views, wanted, names) for one in group.items())
    for row, (model_id, answers) in enumerate(each):
        places, own_places = _cells(answers, own)
        answered[row, places] = True
        if not answered[row].any():
            raise NotComparableError(
                f"{model_id} and the base {base} answered no instance in common: leave it out of the comparison."
            )
        for name in names:
            values[name][row, places] = _values(answers, name)[own_places]
    labels = _values(own, "label").astype(np.int64)
    return Aligned(tuple(wanted), tuple(names_of(views, wanted)), own.instances, labels, answered, values)


def names_of(views: Views, ids: Sequence[str]) -> list[str]:
    """Name of each model, in the order of the ids."""
    found = rows(views, f"SELECT model_id, name FROM models WHERE model_id {AMONG}", [list(ids)])
    names = {row["model_id"]: str(row["name"]) for row in found}
    return [names[model_id] for model_id in ids]


def _values(answers: Answers, name: str) -> NDArray[Any]:
    values: NDArray[Any] = answers.columns[name].to_numpy(zero_copy_only=False)
    return values


def _cells(answers: Answers, base: Answers) -> tuple[Places, Places]:
    """Positions in the base's and in the own answers of the instances that both hold."""
    if np.array_equal(answers.instances, base.instances):
        return slice(None), slice(None)
    both = np.intersect1d(base.instances, answers.instances, assume_unique=True, return_indices=True)
    return both[1], both[2]
