"""Steps as a person types them: `magnitude_pruning(sparsity=[0.3, 0.5], scope='layer')`.

Values are Python literals, `rows_of(...)` or `times_of(...)`, and nothing else: they are read, never evaluated. A list
stands for several values, one after the other; where a parameter is a list itself, a list of lists does.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from cc_ray.errors import InvalidRecipeError
from cc_ray.search.space import Choice, Rows, StepSpace, Stored, Times, rows_of, times_of

LONGEST: Final = 4_000
"""Characters of a step."""
_STORED: Final[Mapping[str, Callable[..., Stored]]] = {"rows_of": rows_of, "times_of": times_of}
_ALLOWED: Final = "operation(parameter=value, ...) with numbers, texts in quotes, True, False and lists as values"


def read_step(text: str) -> StepSpace:
    """Read a step.

    Args:
        text: Such as `uniform_quantization(bits=[4, 8])`; the parentheses of a step without parameters may be left out.

    Raises:
        InvalidRecipeError: If it is no step, or gives a parameter twice.
        UnknownOperationError: If the operation is not registered.
    """
    call = _call(text)
    if isinstance(call, ast.Name):
        return open_step(call.id, {})
    given: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in given:
            _refuse(text)
        try:
            given[keyword.arg] = _stored(keyword.value) or ast.literal_eval(keyword.value)
        except InvalidRecipeError:
            raise
        except ValueError:
            raise InvalidRecipeError(
                f"step: the value of '{keyword.arg}' in '{text}' is no literal; allowed: {_ALLOWED}."
            ) from None
    assert isinstance(call.func, ast.Name)
    return open_step(call.func.id, given)


def open_step(operation: str, parameters: Mapping[str, Any]) -> StepSpace:
    """The step in which several values, given as a list, are open.

    Raises:
        UnknownOperationError: If the operation is not registered.
        InvalidRecipeError: If a value is no plain data.
    """
    lists = _lists(operation)
    return StepSpace(operation, {name: _domain(value, name in lists) for name, value in parameters.items()})


def read_stored(text: str) -> Stored:
    """Read what stands in place of a value that the store has.

    Args:
        text: Such as `rows_of('loss')`.

    Raises:
        InvalidRecipeError: If it is anything else.
    """
    try:
        found = _stored(_expression(text))
    except InvalidRecipeError:
        raise
    except ValueError:
        found = None
    if found is None:
        raise InvalidRecipeError(
            f"'{text}' cannot be read; allowed: {' or '.join(f'{name}(...)' for name in _STORED)}."
        )
    return found


def write_step(step: StepSpace) -> str:
    """The text that `read_step` reads back."""
    return f"{step.operation}({', '.join(f'{name}={_text(value)}' for name, value in step.parameters.items())})"


def _text(value: Any) -> str:
    if isinstance(value, Rows):
        return f"rows_of({value.metric!r}, split={value.split!r}, model={value.model!r})"
    if isinstance(value, Times):
        return f"times_of({value.device!r}, model={value.model!r})"
    return repr(list(value.options) if isinstance(value, Choice) else value)


def _stored(value: ast.expr | None) -> Stored | None:
    """What `rows_of(...)` or `times_of(...)` says; None of anything else."""
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name) or value.func.id not in _STORED:
        return None
    named = {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in value.keywords}
    try:
        return _STORED[value.func.id](*map(ast.literal_eval, value.args), **named)
    except TypeError as error:
        raise InvalidRecipeError(f"step: {error}.") from None


def _call(text: str) -> ast.Call | ast.Name:
    if len(text) > LONGEST:
        raise InvalidRecipeError(f"step: {len(text)} characters; allowed: at most {LONGEST}.")
    found = _expression(text)
    if isinstance(found, ast.Name):
        return found
    if not isinstance(found, ast.Call) or not isinstance(found.func, ast.Name) or found.args:
        _refuse(text)
    return found


def _expression(text: str) -> ast.expr | None:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _lists(operation: str) -> set[str]:
    """Parameters of an operation that are lists themselves."""
    # Imported here: a text is read without torch, but operations need it.
    from cc_ray.compress import operations

    fields = operations[operation].model_json_schema()["properties"] if operation else {}
    return {name for name, field in fields.items() if field.get("type") == "array"}


def _domain(value: Any, is_list: bool) -> Any:
    several = isinstance(value, list) and (not is_list or (bool(value) and all(isinstance(v, list) for v in value)))
    if not several:
        return value
    return value[0] if len(value) == 1 else Choice(tuple(value))


def _refuse(text: str) -> NoReturn:
    raise InvalidRecipeError(f"step: '{text}' cannot be read; allowed: {_ALLOWED}.") from None
