"""What recipes can have in common or not, one trait at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

from cc_ray.recipe import Step, canonical_json

ARROW: Final = " → "
NONE: Final = "none"
"""Label of a model that lacks what is asked about."""


Fields = Mapping[str, Any]
"""What a step says: its parameters and its version, as values that compare as people would."""
Taken = tuple[str, Fields]
"""A step's operation and what it says."""


@dataclass(frozen=True)
class Made:
    """How a model was made."""

    task: str
    base: str
    seed: int
    steps: Mapping[str, Fields]
    """In order, by operation; repeated ones are counted from the root ("fine_tune 2")."""


@dataclass
class Reader:
    """Reads steps from plain data; a step that many recipes share is read once and is one object."""

    read: dict[str, Taken] = field(default_factory=dict)

    def steps(self, recipe: Mapping[str, Any]) -> list[Taken]:
        """The steps of a recipe in order."""
        return [self.step(step) for step in recipe.get("steps", ())]

    def step(self, data: Mapping[str, Any]) -> Taken:
        """One step."""
        text = str(data)
        if text not in self.read:
            self.read[text] = data["operation"], _fields(Step.from_json(data))
        return self.read[text]


def made_of(recipes: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Made]:
    """How models were made, from pairs of task and recipe as plain data."""
    reader = Reader()
    return [Made(task, data["base"], data.get("seed", 0), _counted(reader.steps(data))) for task, data in recipes]


def _counted(steps: Iterable[Taken]) -> dict[str, Fields]:
    seen: dict[str, int] = {}
    found = {}
    for operation, fields in steps:
        count = seen[operation] = seen.get(operation, 0) + 1
        found[operation if count == 1 else f"{operation} {count}"] = fields
    return found


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
        Trait("base", "base", tuple(model.base for model in made)),
        Trait("seed", "seed", tuple(model.seed for model in made), "seed"),
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
    for names, count in Counter(tuple(model.steps) for model in made).items():
        for place, name in enumerate(names):
            total = places.setdefault(name, [0, 0])
            total[0] += count * place
            total[1] += count
    return sorted(places, key=lambda name: (places[name][0] / places[name][1], name))


def _operation_traits(name: str, steps: Sequence[Fields | None]) -> Iterator[Trait]:
    """The parameters that vary where the operation is there; without any, its presence."""
    there = list({id(fields): fields for fields in steps if fields is not None}.values())
    keys = [key for key in dict.fromkeys(key for fields in there for key in fields) if _varies(there, key)]
    numeric = [key for key in keys if all(is_number(fields.get(key)) for fields in there)]
    if not keys:
        yield Trait("presence", name, tuple(fields is not None for fields in steps), name)
    for key in sorted(keys, key=lambda key: key not in numeric):
        values = tuple(None if fields is None else fields.get(key) for fields in steps)
        # A single number needs no name: "magnitude_pruning 0.5, scope=layer".
        alone = len(keys) == 1 or numeric == [key]
        yield Trait("parameter", f"{name} {key}", values, name, "" if alone else key)


def _fields(step: Step) -> Fields:
    return {key: _plain(value) for key, value in {**step.parameters, "version": step.version}.items()}


def _plain(value: Any) -> Any:
    """A value that equals another one where people would say so; an empty list or mapping asks for nothing."""
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return " | ".join(value) or None
    if value == {}:
        return None
    return value if isinstance(value, str | int | None) else canonical_json(value)


def _varies(there: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({fields.get(key) for fields in there}) > 1


def _orders(sequences: Sequence[tuple[str, ...]]) -> tuple[str | None, ...]:
    """The order of those operations that stand in one order here and in the other there."""
    different = set(sequences)
    pairs = {pair for sequence in different for pair in combinations(sequence, 2)}
    turned = {name for first, second in pairs if (second, first) in pairs for name in (first, second)}
    kept = {sequence: [name for name in sequence if name in turned] for sequence in different}
    said = {sequence: ARROW.join(names) if len(names) > 1 else None for sequence, names in kept.items()}
    return tuple(said[sequence] for sequence in sequences)
