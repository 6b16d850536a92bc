"""What every question needs: known models, of one task."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.views import Views

Row = dict[str, Any]


AMONG: Final = "IN (SELECT unnest(?::VARCHAR[]))"
"""SQL for being one of a list that is given as one parameter; quick for tables in memory, however long the list."""


def marks(values: Collection[object]) -> str:
    """SQL for a list of as many parameters.

    For large tables: only a list that stands in the statement keeps files from being read that hold none of it.
    """
    return f"({', '.join('?' * len(values))})" if values else "(NULL)"


def known(views: Views, ids: Iterable[str]) -> list[str]:
    """The ids without repetition, in their order.

    Raises:
        ModelNotFoundError: If the store has no model of one of them.
    """
    wanted = list(dict.fromkeys(ids))
    found = set(column(views, f"SELECT model_id FROM models WHERE model_id {AMONG}", [wanted]))
    for model_id in wanted:
        if model_id not in found:
            raise not_found(model_id, column(views, "SELECT model_id FROM models"))
    return wanted


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


def one_task(views: Views, ids: Sequence[str]) -> str:
    """task_id of the models.

    Raises:
        NotComparableError: If they are of several tasks.
    """
    text = f"SELECT DISTINCT task_id FROM models WHERE model_id {AMONG} ORDER BY task_id"
    found = column(views, text, [list(ids)])
    if len(found) > 1:
        raise NotComparableError(
            f"the models answer {len(found)} different tasks ({', '.join(found)}): their measures do not "
            "compare. Choose models of one task."
        )
    return str(found[0]) if found else ""


def answered(views: Views, ids: Sequence[str]) -> None:
    """Make sure that predictions of the models are there.

    Raises:
        NotComparableError: If one has none.
    """
    text = f"SELECT DISTINCT model_id FROM predictions WHERE model_id IN {marks(ids)}"
    found = set(column(views, text, list(ids)))
    missing = [model_id for model_id in ids if model_id not in found]
    if missing:
        raise NotComparableError(f"there are no predictions of {', '.join(missing)}: leave it out of the comparison.")


def rows(views: Views, text: str, parameters: Sequence[Any] = ()) -> list[Row]:
    """A small answer as dictionaries."""
    found: list[Row] = views.sql(text, list(parameters)).to_pylist()
    return found


def column(views: Views, text: str, parameters: Sequence[Any] = ()) -> list[Any]:
    """The first column of an answer."""
    found: list[Any] = views.sql(text, list(parameters)).column(0).to_pylist()
    return found


def not_found(text: str, candidates: Collection[str]) -> ModelNotFoundError:
    """An error that names the nearest of what there is."""
    if not candidates:
        return ModelNotFoundError(f"no model '{text}': the store has no models yet.")
    nearest = difflib.get_close_matches(text, candidates, n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(repr(name) for name in nearest)}?" if nearest else "list them with `models`."
    return ModelNotFoundError(f"no model '{text}': {hint}")
