"""What is asked of a model, as people write it: `accuracy >= 0.97 and size_bytes <= 1e6`.

    expression = all ("or" all)*
    all        = one ("and" one)*
    one        = "not" one | "(" expression ")" | bound
    bound      = operand (sign operand)+       two neighbours are always a metric and a number
    operand    = METRIC | NUMBER               0.5 <= sparsity < 0.9 is two bounds

Nothing else is understood, and nothing is executed. A metric that a model lacks makes its bound neither true nor
false: the expression holds only where the other bounds decide it alone.

Source of the three values: Kleene, 1952, "Introduction to Metamathematics".
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cc_ray.errors import ParameterError

LONGEST: Final = 2000
"""Characters of an expression at most."""
DEEPEST: Final = 50
"""Brackets and `not` within each other at most."""

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|==|!=|<|>)|(?P<bracket>[()]))",
    re.ASCII,
)
_SIGNS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}
_MIRRORED: Final = {"<=": ">=", ">=": "<=", "<": ">", ">": "<", "==": "==", "!=": "!="}
_JOINING: Final = ("and", "or", "not")
_EXAMPLE: Final = "Write it like `accuracy >= 0.97 and size_bytes <= 1e6`."

Values = Mapping[str, float | None]
"""A model's value by metric; None or NaN where it lacks it."""


class Expression(Protocol):
    """Part of what is required."""

    def met(self, values: Values) -> bool | None:
        """Whether a model meets it; None where that cannot be said because it lacks a metric."""


@dataclass(frozen=True)
class Bound:
    """One metric against one number, in the metric's unit."""

    metric: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.limit:.15g}"

    def met(self, values: Values) -> bool | None:
        """As `Expression` says."""
        value = values.get(self.metric)
        return None if value is None or math.isnan(value) else _SIGNS[self.sign](value, self.limit)


@dataclass(frozen=True)
class All:
    """Parts that must all hold."""

    parts: tuple[Expression, ...]

    def met(self, values: Values) -> bool | None:
        """As `Expression` says."""
        found = [part.met(values) for part in self.parts]
        return False if False in found else None if None in found else True


@dataclass(frozen=True)
class Either:
    """Parts of which one must hold."""

    parts: tuple[Expression, ...]

    def met(self, values: Values) -> bool | None:
        """As `Expression` says."""
        found = [part.met(values) for part in self.parts]
        return True if True in found else None if None in found else False


@dataclass(frozen=True)
class Not:
    """A part that must not hold."""

    part: Expression

    def met(self, values: Values) -> bool | None:
        """As `Expression` says."""
        found = self.part.met(values)
        return None if found is None else not found


@dataclass(frozen=True)
class Requirement:
    """A whole expression and the bounds that stand in it."""

    expression: Expression
    bounds: tuple[Bound, ...]
    """In the order of the text, each once."""


def parse(text: str) -> Requirement:
    """Understand an expression.

    Raises:
        ParameterError: If it is none; the message says where.
    """
    if len(text) > LONGEST:
        raise ParameterError(f"the requirement has {len(text)} characters; {LONGEST} are allowed.")
    reading = _Reading(_tokens(text))
    expression = reading.expression(0)
    reading.end()
    return Requirement(expression, tuple(dict.fromkeys(reading.bounds)))


def _tokens(text: str) -> list[tuple[str, str]]:
    found, place = [], 0
    text = text.rstrip()
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None or token.lastgroup is None:
            raise ParameterError(f"'{text[place:].strip()[:20]}' is not understood in the requirement. {_EXAMPLE}")
        found.append((token.lastgroup, token[token.lastgroup]))
        place = token.end()
    return found


@dataclass
class _Reading:
    """What is left to read, and the bounds read so far."""

    tokens: Sequence[tuple[str, str]]
    place: int = 0
    bounds: list[Bound] = field(default_factory=list)

    def expression(self, depth: int) -> Expression:
        parts = [self._all(depth)]
        while self._take("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _all(self, depth: int) -> Expression:
        parts = [self._one(depth)]
        while self._take("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _one(self, depth: int) -> Expression:
        if depth > DEEPEST:
            raise ParameterError(f"the requirement goes more than {DEEPEST} brackets deep: write it simpler.")
        if self._take("not"):
            return Not(self._one(depth + 1))
        if self._take("("):
            inner = self.expression(depth + 1)
            if not self._take(")"):
                raise self._unexpected("')'")
            return inner
        return self._bound()

    def _bound(self) -> Expression:
        left, found = self._operand(), []
        while self._next[0] == "sign":
            sign, right = self._step(), self._operand()
            found.append(self._pair(left, sign, right))
            left = right
        if not found:
            raise self._unexpected("a comparison such as <= or >=")
        self.bounds += found
        return found[0] if len(found) == 1 else All(tuple(found))

    def _operand(self) -> str | float:
        kind, text = self._next
        if kind == "number":
            return float(self._step())
        if kind == "word" and text.lower() not in _JOINING:
            return self._step()
        raise self._unexpected("a metric or a number")

    def _pair(self, left: str | float, sign: str, right: str | float) -> Bound:
        match left, right:
            case str(), float():
                return Bound(left, sign, right)
            case float(), str():
                return Bound(right, _MIRRORED[sign], left)
        raise ParameterError(f"'{left} {sign} {right}' does not compare a metric with a number. {_EXAMPLE}")

    @property
    def _next(self) -> tuple[str, str]:
        return self.tokens[self.place] if self.place < len(self.tokens) else ("end", "its end")

    def _step(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1][1]

    def _take(self, text: str) -> bool:
        there = self._next[0] != "end" and self._next[1].lower() == text
        self.place += there
        return there

    def end(self) -> None:
        if self._next[0] != "end":
            raise self._unexpected("'and' or 'or'")

    def _unexpected(self, wanted: str) -> ParameterError:
        kind, text = self._next
        there = text if kind == "end" else f"'{text[:40]}'"
        return ParameterError(f"the requirement has {there} where {wanted} is expected. {_EXAMPLE}")
