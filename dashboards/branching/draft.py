"""What stands in the form, as it was typed, and the branch that it says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dashboards.branching.mapping import YES_NO, mapping
from dashboards.operating import WHOLE, Branch, Operation, Parameter, Place, Step, Stored

MOST_STEPS: Final = 12
MOST_VALUES: Final = 50
"""Values of one parameter."""


@dataclass
class DraftStep:
    """A step, with the text of each of its fields."""

    operation: str
    texts: dict[str, str] = field(default_factory=dict)
    """By parameter; several values are parted by commas, entries of a mapping stand on lines. Those left empty have
    their default."""


@dataclass
class Draft:
    """The whole form."""

    steps: list[DraftStep] = field(default_factory=list)
    seeds: str = ""
    name: str = ""

    def add(self, operation: str) -> None:
        """Put a step at the end."""
        if len(self.steps) < MOST_STEPS:
            self.steps.append(DraftStep(operation))

    def move(self, index: int) -> None:
        """Let a step come one earlier."""
        if 0 < index < len(self.steps):
            self.steps[index - 1 : index + 1] = self.steps[index - 1 : index + 1][::-1]


def options_of(parameter: Parameter) -> tuple[str, ...]:
    """The values of a parameter that has but a few, as they are written; empty where any may be typed."""
    return tuple(YES_NO) if parameter.type == "boolean" else parameter.options


def written(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, bool):
        return next(word for word, meant in YES_NO.items() if meant == value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def chosen(parameter: Parameter, text: str) -> list[str]:
    """The options that are chosen; the default where none is."""
    return _parts(text) or ([] if parameter.default is None else [written(parameter.default)])


def turned(parameter: Parameter, text: str, option: str) -> str:
    """The text after an option was chosen, or chosen no more."""
    now = set(chosen(parameter, text)) ^ {option}
    return ",".join(each for each in options_of(parameter) if each in now)


def read(draft: Draft, operations: Mapping[str, Operation], models: Sequence[str]) -> tuple[Branch, dict[Place, str]]:
    """The branch that a form says, and what of it cannot be understood, in words by place.

    Args:
        draft: The form.
        operations: By name.
        models: What it goes on from.
    """
    problems: dict[Place, str] = {}
    steps = tuple(_step(step, index, operations, problems) for index, step in enumerate(draft.steps))
    if not models:
        problems[WHOLE, ""] = "Select the models to go on from, on the map or in the table."
    elif not steps:
        problems[WHOLE, ""] = "Add a step: what is to be done to them?"
    seeds = _seeds(draft.seeds, problems)
    return Branch(tuple(models), steps, seeds, draft.name.strip()), problems


def _step(step: DraftStep, index: int, operations: Mapping[str, Operation], problems: dict[Place, str]) -> Step:
    values = {}
    for parameter in operations[step.operation].parameters:
        try:
            found = _values(parameter, step.texts.get(parameter.name, ""))
        except ValueError as error:
            problems[index, parameter.name] = str(error)
            continue
        if found:
            values[parameter.name] = found
        elif parameter.required:
            problems[index, parameter.name] = "is needed"
    return Step(step.operation, values)


def _values(parameter: Parameter, text: str) -> tuple[Any, ...]:
    """The values that a text says, none for the default; a ValueError says what is wrong with it."""
    if parameter.type == "object":
        return (_mapping(parameter, text),) if text.strip() else ()
    parts = _parts(text)
    if len(parts) > MOST_VALUES:
        raise ValueError(f"{len(parts)} values; at most {MOST_VALUES} are allowed")
    if not parts:
        return ()
    if parameter.type == "array":
        return ([_READ[parameter.items](part) for part in parts],)
    return tuple(dict.fromkeys(_READ[parameter.type](part) for part in parts))


def _mapping(parameter: Parameter, text: str) -> Stored | dict[str, Any]:
    is_call = parameter.stored and text.strip().startswith(f"{parameter.stored}(")
    return Stored(text.strip()) if is_call else mapping(text)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(part: str) -> float:
    try:
        found = float(part)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"'{part}' is no number")
    return found


def _integer(part: str) -> int:
    # Digits of other scripts, underscores and very long numbers are no numbers here.
    if not (part.lstrip("-").isascii() and part.lstrip("-").isdecimal() and len(part) < 19):
        raise ValueError(f"'{part}' is no whole number")
    return int(part)


def _boolean(part: str) -> bool:
    if part not in YES_NO:
        raise ValueError(f"'{part}' is neither yes nor no")
    return YES_NO[part]


_READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "string": str,
}


def _seeds(text: str, problems: dict[Place, str]) -> tuple[int, ...]:
    try:
        found = tuple(dict.fromkeys(_integer(part) for part in _parts(text)))
    except ValueError as error:
        problems[WHOLE, "seeds"] = str(error)
        return ()
    if any(seed < 0 for seed in found) or len(found) > MOST_VALUES:
        problems[WHOLE, "seeds"] = f"seeds are whole numbers from 0 on, at most {MOST_VALUES} of them"
        return ()
    return found
