"""What recipes can have in common or not, one trait at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import fmean
from typing import Any, Final

from cc_ray.recipe import Recipe, Step, canonical_json

ARROW: Final = " → "
NONE: Final = "none"
"""Label of a model that lacks what is asked about."""


@dataclass(frozen=True)
class Made:
    """How a model was made."""

    task: str
    recipe: Recipe

    @cached_property
    def steps(self) -> dict[str, Step]:
        """Steps in order, by operation; repeated ones are counted from the root ("fine_tune 2")."""
        seen: Counter[str] = Counter()
        steps = {}
        for step in self.recipe.steps:
            seen[step.operation] += 1
            count = seen[step.operation]
            steps[step.operation if count == 1 else f"{step.operation} {count}"] = step
        return steps


@dataclass(frozen=True, eq=False)
class Trait:
    """One trait of several models."""

    kind: str
    """task, base, seed, presence, parameter or order."""
    name: str
    values: tuple[Any, ...]
    """Each model's value; None or False where it lacks the trait."""
    head: str = ""
    """Said once before the values of the traits that share it: the operation; empty where the value says all."""
    key: str = ""
    """Said before the value, where `head` alone leaves open which one is meant."""

    @property
    def distinct(self) -> int:
        """Number of different values."""
        return len(set(self.values))

    def detail(self, value: Any) -> str:
        """What a value says beyond the head."""
        if self.kind == "presence":
            return ""
        return f"{self.key}={label(value)}" if self.key else label(value)


def traits(made: Sequence[Made]) -> list[Trait]:
    """The traits in which the models differ, in the order of their recipes."""
    found = [
        Trait("task", "task", tuple(model.task for model in made)),
        Trait("base", "base", tuple(model.recipe.base for model in made)),
        Trait("seed", "seed", tuple(model.recipe.seed for model in made), "seed"),
    ]
    for name in _operations(made):
        found += _operation_traits(name, [model.steps.get(name) for model in made])
    found.append(Trait("order", "order", _orders([tuple(model.steps) for model in made]), "order"))
    return [trait for trait in found if trait.distinct > 1]


def lacking(value: Any) -> bool:
    """Whether a model with this value lacks the trait."""
    return value is None or value is False


def is_number(value: Any) -> bool:
    """Whether a value has a size; true and false have none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def label(value: Any) -> str:
    """Write a value as it stands on an axis."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def combined(members: Iterable[Trait], values: Iterable[Any]) -> str:
    """Write the values of several traits of one model as one label, operations in the model's own order."""
    details: dict[str, list[str]] = {}
    order: list[str] = []
    for trait, value in zip(members, values, strict=True):
        if trait.kind == "order" and value is not None:
            order = value.split(ARROW)
        elif not lacking(value):
            details.setdefault(trait.head, []).append(trait.detail(value))
    if not details.keys() >= set(order):
        details["order"] = [ARROW.join(order)]
    parts = (f"{head} {', '.join(filter(None, details[head]))}".strip() for head in _reordered(list(details), order))
    return ARROW.join(parts) or NONE


def _reordered(heads: list[str], order: Sequence[str]) -> list[str]:
    """The heads, those of which the order is known in that order; the others stay where they are."""
    wanted = iter([name for name in order if name in heads])
    return [next(wanted) if head in order else head for head in heads]


def axis_order(values: Iterable[Any]) -> tuple[Any, ...]:
    """Sort key of the values of several traits: who lacks most comes first, numbers go by size."""
    found = list(values)
    return sum(not lacking(value) for value in found), [(lacking(value), _size(value)) for value in found]


def _size(value: Any) -> tuple[bool, float, str]:
    number = is_number(value)
    return not number, float(value) if number else 0.0, "" if number else str(value)


def _operations(made: Sequence[Made]) -> list[str]:
    """Names of all steps, by where they stand on average."""
    places: dict[str, list[int]] = {}
    for model in made:
        for place, name in enumerate(model.steps):
            places.setdefault(name, []).append(place)
    return sorted(places, key=lambda name: (fmean(places[name]), name))


def _operation_traits(name: str, steps: Sequence[Step | None]) -> Iterator[Trait]:
    """The parameters that vary where the operation is there; without any, its presence."""
    there = [_fields(step) for step in steps if step is not None]
    keys = [key for key in dict.fromkeys(key for fields in there for key in fields) if _varies(there, key)]
    numeric = [key for key in keys if all(is_number(fields.get(key)) for fields in there)]
    if not keys:
        yield Trait("presence", name, tuple(step is not None for step in steps), name)
    fields = [_fields(step) if step is not None else {} for step in steps]
    for key in sorted(keys, key=lambda key: key not in numeric):
        values = tuple(row.get(key) for row in fields)
        # A single number needs no name: "magnitude_pruning 0.5, scope=layer".
        alone = len(keys) == 1 or numeric == [key]
        yield Trait("parameter", f"{name} {key}", values, name, "" if alone else key)


def _fields(step: Step) -> dict[str, Any]:
    return {key: _plain(value) for key, value in {**step.parameters, "version": step.version}.items()}


def _plain(value: Any) -> Any:
    """A value that equals another one where people would say so; an empty list asks for nothing."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return " | ".join(value) or None
    return value if isinstance(value, str | int | None) else canonical_json(value)


def _varies(there: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({fields.get(key) for fields in there}) > 1


def _orders(sequences: Sequence[tuple[str, ...]]) -> tuple[str | None, ...]:
    """The order of those operations that stand in one order here and in the other there."""
    pairs = {pair for sequence in set(sequences) for pair in combinations(sequence, 2)}
    turned = {name for first, second in pairs if (second, first) in pairs for name in (first, second)}
    kept = ([name for name in sequence if name in turned] for sequence in sequences)
    return tuple(ARROW.join(names) if len(names) > 1 else None for names in kept)
