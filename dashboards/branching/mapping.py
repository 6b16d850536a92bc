"""Mappings as operators type them: a `name: value` on each line, or JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final, NoReturn

LONGEST: Final = 4_000
"""Characters of a mapping."""
_BARE: Final = re.compile(r"^(-?)\.(?=\d)")
"""What stands before the digits of a number that JSON would begin with 0."""
YES_NO: Final = {"yes": True, "no": False}
SAID: Final = "one name: value a line, or JSON"


def mapping(text: str) -> dict[str, Any]:
    """The mapping that a text says.

    Args:
        text: Lines such as `encoder.*: 0.5`, where a value is a number, `yes`, `no`, a text, or several of them
            parted by commas; or a JSON object.

    Raises:
        ValueError: If it is neither, names something twice, or is too long; says what is wrong.
    """
    if len(text) > LONGEST:
        raise ValueError(f"{len(text):,} characters; at most {LONGEST:,} are allowed")
    if text.lstrip().startswith("{"):
        return _json(text)
    return _once(_entry(line) for line in text.splitlines() if line.strip())


def _entry(line: str) -> tuple[str, Any]:
    # Values have no colons, names may.
    name, _, value = (part.strip() for part in line.rpartition(":"))
    values = [_value(part.strip()) for part in value.split(",")]
    if not name or any(each == "" for each in values):
        raise ValueError(f"'{line.strip()}' is no name: value")
    return name, values[0] if len(values) == 1 else values


def _value(text: str) -> Any:
    if text in YES_NO:
        return YES_NO[text]
    try:
        found = _read(_BARE.sub(r"\g<1>0.", text))
    except ValueError:
        return text
    return text if isinstance(found, list | dict) or found is None else found


def _json(text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = _read(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg.lower()} in line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("no mapping is as deep as this JSON") from None
    return found


def _read(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once, parse_float=_finite, parse_constant=_no_number)


def _once(entries: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in entries:
        if name in found:
            raise ValueError(f"'{name}' is named twice")
        found[name] = value
    return found


def _finite(text: str) -> float:
    return found if math.isfinite(found := float(text)) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
