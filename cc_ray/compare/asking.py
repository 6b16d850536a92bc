"""What every question needs: known models, of one task."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

import pyarrow as pa

from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.views import Views

Row = dict[str, Any]

T = TypeVar("T")

_ANSWERS: Final[WeakKeyDictionary[Views, dict[str, Any]]] = WeakKeyDictionary()

AMONG: Final = "IN (SELECT unnest(?::VARCHAR[]))"
"""SQL for being one of a list that is given as one parameter; quick for tables in memory, however long the list."""


def marks(values: Collection[object]) -> str:
    """SQL for a list of as many parameters.

    For large tables: only a list that stands in the statement keeps files from being read that hold none of it.
    """
    return f"({', '.join('?' * len(values))})" if values else "(NULL)"


FEW: Final = 64
"""So many models at most are listed in a condition, which keeps files without them from being read; more are joined."""


def named_in(ids: Sequence[str]) -> tuple[str, list[Any]]:
    """SQL for `model_id` being one of any number of models, in a large table, and its parameters."""
    return (f"model_id IN {marks(ids)}", list(ids)) if len(ids) <= FEW else (f"model_id {AMONG}", [list(ids)])


def known(views: Views, ids: Iterable[str]) -> list[str]:
    """The ids without repetition, in their order.

    Raises:
        ModelNotFoundError: If the store has no model of one of them.
    """
    wanted = list(dict.fromkeys(ids))
    there = positions(views)
    for model_id in wanted:
        if model_id not in there:
            raise not_found(model_id, list(there))
    return wanted


def positions(views: Views) -> dict[str, int]:
    """Place of every model by model_id, in the order of model_id."""
    text = "SELECT DISTINCT model_id FROM models ORDER BY model_id"
    return remembered(
        views, "positions", lambda: {model_id: place for place, model_id in enumerate(column(views, text))}
    )


def comparable(views: Views, ids: Iterable[str], base: str) -> list[str]:
    """The ids as `known` gives them, if they and the base are of one task.

    Raises:
        ModelNotFoundError: If the store has no model of one of them.
        NotComparableError: If there are none, or they are of several tasks.
    """
    wanted = known(views, ids)
    if not wanted:
        raise NotComparableError("no model is named: name at least one to compare with the base.")
    one_task(views, [*wanted, *known(views, [base])])
    return wanted


@dataclass(frozen=True)
class Origin:
    """Where a model comes from."""

    name: str
    task_id: str
    parent: str | None
    base: str
    """The base model that its recipe starts from; itself for a base model."""


def origins(views: Views) -> dict[str, Origin]:
    """Where every model comes from, by model_id."""
    text = """
        SELECT
            model_id, any_value(name) AS name, any_value(task_id) AS task_id,
            min(ancestor) FILTER (distance = 1) AS parent, arg_max(ancestor, distance) AS base
        FROM models
        JOIN ancestry USING (model_id)
        GROUP BY model_id
    """
    return remembered(views, "origins", lambda: {row.pop("model_id"): Origin(**row) for row in rows(views, text)})


def one_task(views: Views, ids: Sequence[str]) -> str:
    """task_id of the models.

    Raises:
        NotComparableError: If they are of several tasks.
    """
    known_ = origins(views)
    return only_task(known_[model_id].task_id for model_id in ids if model_id in known_)


def only_task(tasks: Iterable[str]) -> str:
    """The only one of these task_ids, or nothing where there are none.

    Raises:
        NotComparableError: If there are several.
    """
    found = sorted(set(tasks))
    if len(found) > 1:
        raise NotComparableError(
            f"the models answer {len(found)} different tasks ({', '.join(found)}): their measures do not "
            "compare. Choose models of one task."
        )
    return found[0] if found else ""


def answered(views: Views, ids: Sequence[str]) -> None:
    """Make sure that predictions of the models are there, and are of classes.

    Raises:
        NotComparableError: If one has none, generates text or predicts numbers.
    """
    chosen, given = named_in(ids)
    text = f"""
        SELECT model_id, count(label) < count(*) AS of_others, count(value) > 0 AS of_numbers
        FROM predictions
        WHERE {chosen}
        GROUP BY model_id
    """
    found = {row["model_id"]: row for row in rows(views, text, given)}
    for model_id in ids:
        if model_id in found and found[model_id]["of_others"]:
            raise names_no_class(model_id, numbers=found[model_id]["of_numbers"])
    missing = [model_id for model_id in ids if model_id not in found]
    if missing:
        raise NotComparableError(f"there are no predictions of {', '.join(missing)}: leave it out of the comparison.")


def names_no_class(model_id: str, *, numbers: bool = False) -> NotComparableError:
    """An error for questions about classes, of a model that generates text or predicts numbers."""
    if numbers:
        return NotComparableError(f"{model_id} predicts numbers, not classes: ask `models` about it, or leave it out.")
    return NotComparableError(
        f"{model_id} generates text and predicts no classes: ask `generation` about it, or leave it out."
    )


def rows(views: Views, text: str, parameters: Sequence[Any] = ()) -> list[Row]:
    """A small answer as dictionaries."""
    found: list[Row] = views.sql(text, list(parameters)).to_pylist()
    return found


def plain(table: pa.Table) -> list[Row]:
    """As `to_pylist`, with times in UTC and without pandas: pyarrow loads it to make a time of any zone."""
    columns = [_plain(each) for each in table.columns]
    return [dict(zip(table.column_names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(column: pa.ChunkedArray) -> list[Any]:
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        values: list[Any] = column.to_pylist()
        return values
    without_zone = pa.timestamp(column.type.unit)
    times = [time for chunk in column.chunks for time in chunk.view(without_zone).to_pylist()]
    return [time if time is None else time.replace(tzinfo=UTC) for time in times]


def column(views: Views, text: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """The first column of an answer."""
    found: list[Any] = views.sql(text, list(parameters)).column(0).to_pylist()
    return found


def remembered(views: Views, question: str, ask: Callable[[], T]) -> T:
    """An answer that many questions start from, asked once: views never change. It must not be changed either."""
    answers = _ANSWERS.setdefault(views, {})
    if question not in answers:
        answers[question] = ask()
    return cast(T, answers[question])


def not_found(text: str, candidates: Collection[str]) -> ModelNotFoundError:
    """An error that names the nearest of what there is."""
    if not candidates:
        return ModelNotFoundError(f"no model '{text}': the store has no models yet.")
    nearest = difflib.get_close_matches(text, candidates, n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(repr(name) for name in nearest)}?" if nearest else "list them with `models`."
    return ModelNotFoundError(f"no model '{text}': {hint}")
