"""Which instances fulfil a condition that a person wrote as an SQL expression."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import one_task
from cc_ray.compare.behaviour.loading import Kept
from cc_ray.errors import QueryError
from cc_ray.views import Views

Integers = NDArray[np.int64]

COLUMNS: Final = (
    "instance", "label", "label_name", "slices", "prediction", "correct", "confidence", "true_probability", "loss",
    "margin", "entropy", "input",
)  # fmt: skip
"""What a plain condition may name: columns of the instance and of the base's answer; `input` is the text shown."""
FUNCTIONS: Final = frozenset(
    {"+", "-", "*", "/", "%", "abs", "round", "length", "lower", "upper", "contains", "list_contains", "~~", "!~~",
     "~~*", "!~~*", "starts_with", "ends_with", "prefix", "suffix"}
)  # fmt: skip
"""What it may call: nothing whose cost is more than that of reading the columns. `~~` is LIKE."""
LONGEST: Final = 1_000
"""Characters of a plain condition at most."""

_CLASSES: Final = frozenset(
    {"CONJUNCTION", "COMPARISON", "OPERATOR", "BETWEEN", "CONSTANT", "COLUMN_REF", "FUNCTION", "CAST"}
)
_fulfilled: Final[Kept[Integers]] = Kept(32 * 2**20, lambda instances: int(instances.nbytes))


def plain(condition: str) -> str:
    """A condition from anybody, checked: it compares `COLUMNS` with each other and with values, and does nothing else.

    Subqueries, parameters, other functions and other columns are refused by what DuckDB's own parser finds in the text.

    Raises:
        QueryError: If it is not such a condition.
    """
    if len(condition) > LONGEST:
        raise QueryError(f"the condition has {len(condition)} characters. Allowed: {LONGEST} at most.")
    written = expression(condition)
    for part in _parts(_parsed(written)):
        if part["class"] not in _CLASSES:
            kind = part["class"].lower()
            raise QueryError(f"the condition has a {kind} in it: {condition!r}. Compare columns with values.")
        if part["class"] == "COLUMN_REF" and part["column_names"] not in ([name] for name in COLUMNS):
            named = ".".join(part["column_names"])
            raise QueryError(f"there is no column '{named}' to choose instances by. There are {', '.join(COLUMNS)}.")
        if part["class"] == "FUNCTION" and part["function_name"] not in FUNCTIONS:
            allowed = ", ".join(sorted(name for name in FUNCTIONS if name.isidentifier()))
            raise QueryError(f"'{part['function_name']}' is not allowed in a condition. Allowed are {allowed}.")
    return written


def expression(condition: str, called: str = "the slice") -> str:
    """A condition as DuckDB reads it: whatever else stands in the text is refused, comments are dropped.

    Raises:
        QueryError: If it is not one expression.
    """
    try:
        return str(duckdb.SQLExpression(condition))
    except duckdb.Error as error:
        raise QueryError(
            f"{called} has a condition that is not one SQL expression: {condition!r}. "
            "Write what follows WHERE, such as: confidence < 0.6 AND label = 3."
        ) from error


def fulfilling(views: Views, model: str, condition: str, called: str = "the slice") -> Integers:
    """Instances of a model's answers of which a condition is true, ascending; unknown (null) counts as false.

    Raises:
        QueryError: If the condition is not one expression over the columns of `instances` and `predictions` that is
            true or false.
    """
    key = (views.root, views.version, model, condition)
    found = _fulfilled.get(key)
    if found is None:
        found = _asked(views, model, condition, called)
        _fulfilled.put(key, found)
    return found


def _asked(views: Views, model: str, condition: str, called: str) -> Integers:
    text = f"""
        WITH answers AS (
            SELECT
                predictions.*, instances.* EXCLUDE (task_id, instance, label),
                CASE payload_type WHEN 'text/plain' THEN decode(payload) END AS input
            FROM predictions
            LEFT JOIN instances ON instances.instance = predictions.instance AND instances.task_id = ?
            WHERE model_id = ?
        )
        SELECT instance, ({expression(condition, called)}) AS inside FROM answers ORDER BY instance
    """
    try:
        table = views.sql(text, [one_task(views, [model]), model])
    except QueryError as error:
        raise QueryError(f"{called} has a condition that cannot be answered: {error}") from error
    if table["inside"].type != pa.bool_():
        raise QueryError(
            f"{called} has a condition that is {table['inside'].type}, not true or false: {condition}. "
            "Compare it with something."
        )
    inside: Integers = table.filter(table["inside"])["instance"].to_numpy()
    return inside


def _parsed(written: str) -> Any:
    """What DuckDB's parser makes of an expression: nested dictionaries."""
    with duckdb.connect() as parser:
        found = parser.execute("SELECT json_serialize_sql(?::VARCHAR)", [f"SELECT {written}"]).fetchall()
    return json.loads(found[0][0])["statements"][0]["node"]["select_list"]


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    """All expressions within one, itself first."""
    if isinstance(node, dict) and "class" in node:
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _parts(child)
