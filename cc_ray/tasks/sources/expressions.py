"""Conditions on columns, as people write them: `age < 30 and sex == "Female"`.

    condition = condition ("and" | "or") condition | "not" condition | "(" condition ")" | comparison
    comparison = value (sign value)+           0 < age <= 30 is two comparisons
               | value ["not"] "in" (literal, ...)
    value      = COLUMN | `any column` | number | "text" | True | False

Python's own parser reads them; whatever is none of these is refused and nothing is executed. Where a column has no
value a comparison is neither true nor false: the condition holds only where the others decide it alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cc_ray.errors import InvalidRecipeError

LONGEST: Final = 2000
"""Characters of a condition at most."""

_SIGNS: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
}
_QUOTED: Final = re.compile("`([^`]+)`")


def check(condition: str) -> None:
    """Make sure that a text is a condition, whatever columns there are.

    Raises:
        InvalidRecipeError: If it is none.
    """
    _parsed(condition)


def holds(condition: str, columns: pa.Table) -> NDArray[np.bool_]:
    """In which rows a condition holds, (n,).

    Raises:
        InvalidRecipeError: If it is none, names a column that is not there, or compares what cannot be compared.
    """
    tree, quoted = _parsed(condition)
    try:
        found = _Reading(condition, columns, quoted).condition(tree)
    except pa.ArrowException as error:
        raise _refused(condition, str(error).splitlines()[0]) from error
    if isinstance(found, pa.Scalar):
        raise _refused(condition, "it names no column")
    held: NDArray[np.bool_] = pc.fill_null(found, False).to_numpy()
    return held


def _parsed(condition: str) -> tuple[ast.expr, dict[str, str]]:
    if len(condition) > LONGEST:
        raise _refused(condition[:40], f"it has {len(condition)} characters; {LONGEST} are allowed")
    quoted: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        quoted[name := f"quoted_{len(quoted)}_"] = match[1]
        return name

    try:
        tree = ast.parse(_QUOTED.sub(stand_in, condition).strip(), mode="eval").body
        _check(tree, condition)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, InvalidRecipeError):
            raise
        raise _refused(condition, getattr(error, "msg", None) or "it goes too deep") from error
    return tree, quoted


def _check(node: ast.AST, condition: str) -> None:
    """Refuse whatever the grammar above does not have."""
    match node:
        case ast.BoolOp(values=parts):
            for part in parts:
                _check(part, condition)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            _check(part, condition)
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[ast.Tuple(elts=parts)]) if parts:
            if not _is_value(left) or not all(map(_is_literal, parts)):
                raise _refused(condition, "'in' looks for a column in a list of numbers or texts")
        case ast.Compare(left=left, ops=signs, comparators=others) if all(type(sign) in _SIGNS for sign in signs):
            if strange := [value for value in (left, *others) if not _is_value(value)]:
                raise _refused(condition, f"'{ast.unparse(strange[0])[:40]}' is no column, number or text")
        case _:
            raise _refused(condition, f"'{ast.unparse(node)[:40]}' is no comparison")


def _is_value(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) or _is_literal(node)


def _is_literal(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=str() | int() | float()):
            return True
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
            return True
    return False


class _Reading:
    """A condition that was checked, on its way through the columns."""

    def __init__(self, condition: str, columns: pa.Table, quoted: Mapping[str, str]) -> None:
        self._text, self._columns, self._quoted = condition, columns, quoted

    def condition(self, node: ast.AST) -> Any:
        """True, false or null of each row."""
        match node:
            case ast.BoolOp(op=word, values=parts):
                joined = pc.and_kleene if isinstance(word, ast.And) else pc.or_kleene
                found = self.condition(parts[0])
                for part in parts[1:]:
                    found = joined(found, self.condition(part))
                return found
            case ast.UnaryOp(operand=part):
                return pc.invert(self.condition(part))
            case ast.Compare(left=left, ops=signs, comparators=others):
                values = [left, *others]
                found = self._compared(values[0], signs[0], values[1])
                for place, sign in enumerate(signs[1:], start=1):
                    found = pc.and_kleene(found, self._compared(values[place], sign, values[place + 1]))
                return found

    def _compared(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(right, ast.Tuple):
            column = self._value(left)
            listed = pa.array([ast.literal_eval(part) for part in right.elts]).cast(column.type)
            found = pc.if_else(pc.is_valid(column), pc.is_in(column, listed), pa.scalar(None, pa.bool_()))
            return pc.invert(found) if isinstance(sign, ast.NotIn) else found
        return _SIGNS[type(sign)](self._value(left), self._value(right))

    def _value(self, node: ast.expr) -> Any:
        if not isinstance(node, ast.Name):
            return pa.scalar(ast.literal_eval(node))
        name = self._quoted.get(node.id, node.id)
        if name not in self._columns.column_names:
            there = ", ".join(self._columns.column_names)
            raise _refused(self._text, f"there is no column '{name}'; there are: {there}")
        return self._columns[name]


def _refused(condition: str, reason: str) -> InvalidRecipeError:
    return InvalidRecipeError(
        f"the condition '{condition}' is not understood: {reason}. Write it like `age < 30 and sex == \"Female\"`."
    )
