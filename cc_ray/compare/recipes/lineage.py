"""Which models come from which, and which model a person means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

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
    models = rows(views, "SELECT model_id, name FROM models ORDER BY created_at, model_id")
    ids = [str(row["model_id"]) for row in models]
    if text in ids:
        return text
    found = [row["model_id"] for row in models if row["name"] == text]
    if not found and len(text) >= SHORTEST_PREFIX:
        found = [model_id for model_id in ids if model_id.startswith(text)]
    if len(found) == 1:
        return str(found[0])
    if found:
        raise ModelNotFoundError(f"'{text}' means {len(found)} models: {', '.join(found[:5])}. Give more digits.")
    raise not_found(text, [*ids, *(str(row["name"]) for row in models)])


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


def _related(views: Views, ids: Iterable[str], question: str) -> list[str]:
    wanted = known(views, ids)
    text = f"""
        SELECT model_id FROM models
        WHERE model_id IN ({question.format(AMONG)})
        ORDER BY step_index, created_at, model_id
    """
    return column(views, text, [wanted])
