"""Which models come from which, and which model a person means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from cc_ray.compare.asking import AMONG, column, known, not_found, rows
from cc_ray.errors import ModelNotFoundError
from cc_ray.views import Views

SHORTEST_PREFIX: Final = 4
"""Digits of an identity that a person must give at least."""


def resolve(views: Views, text: str) -> str:
    """Find the model that a person means.

    Args:
        views: The store.
        text: A model_id, the only model_id that begins with these digits (four or more), or a model's whole name.

    Raises:
        ModelNotFoundError: If none answers to it, with the nearest ones, or several do.
    """
    question = "SELECT model_id FROM models WHERE {} ORDER BY created_at, model_id"
    if column(views, question.format("model_id = ?"), [text]):
        return text
    found = column(views, question.format("name = ?"), [text])
    if not found and len(text) >= SHORTEST_PREFIX:
        found = column(views, question.format("starts_with(model_id, ?)"), [text])
    if len(found) == 1:
        return str(found[0])
    if found:
        raise ModelNotFoundError(f"'{text}' means {len(found)} models: {', '.join(found[:5])}. Give more digits.")
    there = rows(views, "SELECT model_id, name FROM models ORDER BY created_at, model_id")
    raise not_found(text, [*(row["model_id"] for row in there), *(row["name"] for row in there)])


def parents(views: Views, ids: Iterable[str]) -> list[str]:
    """The models that these were made from, one step back; oldest first."""
    return _related(views, ids, "SELECT ancestor AS id FROM ancestry WHERE distance = 1 AND model_id {}")


def children(views: Views, ids: Iterable[str]) -> list[str]:
    """The models made from these, one step on; oldest first."""
    return _related(views, ids, "SELECT model_id AS id FROM ancestry WHERE distance = 1 AND ancestor {}")


def ancestors(views: Views, ids: Iterable[str]) -> list[str]:
    """All models on the way from the base models to these, these excluded; oldest first."""
    return _related(views, ids, "SELECT ancestor AS id FROM ancestry WHERE distance > 0 AND model_id {}")


def descendants(views: Views, ids: Iterable[str]) -> list[str]:
    """All models made from these, directly or not, these excluded; oldest first."""
    return _related(views, ids, "SELECT model_id AS id FROM ancestry WHERE distance > 0 AND ancestor {}")


def siblings(views: Views, ids: Iterable[str]) -> list[str]:
    """The models made from the same parents as these, these excluded; oldest first."""
    wanted = known(views, ids)
    excluded = set(wanted)
    return [model_id for model_id in children(views, parents(views, wanted)) if model_id not in excluded]


def edges(views: Views) -> pa.Table:
    """A row per edge of the lineage between two models of the store, oldest child first.

    Columns: child, parent, role (parent, teacher, donor or calibration), operation (that made the child), parameters
    (JSON).
    """
    return views.sql("""
        SELECT edges.child, edges.parent, edges.role, edges.operation, edges.parameters
        FROM edges
        JOIN models ON model_id = child
        ORDER BY created_at, child, role, edges.parent
    """)


def _related(views: Views, ids: Iterable[str], question: str) -> list[str]:
    wanted = known(views, ids)
    text = f"""
        SELECT model_id FROM models
        WHERE model_id IN ({question.format(AMONG)})
        ORDER BY step_index, created_at, model_id
    """
    return column(views, text, [wanted])
