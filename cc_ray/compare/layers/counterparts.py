"""Which values of two models' tensors belong together, also after channels were removed.

Each model that lost channels tells which of its parent's indices are left (`layers.kept`). Along the lineage these are
composed: two models meet at their nearest common ancestor, and what both have left of it belongs together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cc_ray.compare.asking import Row, marks, rows
from cc_ray.views import Views

Indices = NDArray[np.int64]
Shape = tuple[int, ...]
Kept = tuple[Indices, ...]


@dataclass(frozen=True, eq=False)
class Counterpart:
    """Positions along each axis that belong together, in the same order in both tensors."""

    own: Kept
    base: Kept

    @cached_property
    def size(self) -> int:
        """Number of values in each tensor that have a counterpart."""
        return math.prod(len(axis) for axis in self.own)


class Counterparts:
    """For models and a base: how their tensors belong together.

    Args:
        views: The store.
        models: Models.
        base: Model that they are compared with.
    """

    def __init__(self, views: Views, models: Sequence[str], base: str) -> None:
        parents = {row["child"]: row["parent"] for row in rows(views, _PARENTS)}
        chains = {model_id: _chain(parents, model_id) for model_id in (*models, base)}
        self._base = base
        self._sides = {model_id: _sides(chains[model_id], chains[base]) for model_id in models}
        involved = sorted({step for sides in self._sides.values() for side in sides for step in side})
        self._reshaped = _reshaped(views, involved)

    def of(self, model: str, name: str, shape: Shape, base_shape: Shape) -> Counterpart | bool:
        """How a model's tensor and the base's same-named one belong together.

        Args:
            model: One of the models.
            name: Name of the tensor within the model.
            shape: Of the model's tensor.
            base_shape: Of the base's.

        Returns:
            True if each value belongs to the other's at the same place; False if that is not known; else which do.
        """
        own_steps, base_steps = self._sides[model]
        changed = [step for step in (*own_steps, *base_steps) if name in self._reshaped[step]]
        if not changed:
            return shape == base_shape
        own, base = (self._left(side, name, length) for side, length in ((own_steps, shape), (base_steps, base_shape)))
        if own is None or base is None or not _fits(own, shape) or not _fits(base, base_shape):
            return False
        met = [np.intersect1d(*axes, return_indices=True)[1:] for axes in zip(own, base, strict=True)]
        return Counterpart(tuple(axis[0] for axis in met), tuple(axis[1] for axis in met))

    def _left(self, steps: Sequence[str], name: str, shape: Shape) -> Kept | None:
        """Of the common ancestor's tensor, the indices left after these steps; None where one step does not tell."""
        left: Kept | None = None
        for step in steps:
            if name in self._reshaped[step]:
                kept = self._reshaped[step][name]
                if kept is None or (left is not None and not _within(kept, left)):
                    return None
                left = kept if left is None else tuple(up[here] for up, here in zip(left, kept, strict=True))
        return tuple(np.arange(length) for length in shape) if left is None else left


_PARENTS: Final = "SELECT child, parent FROM lineage WHERE role = 'parent'"


def _chain(parents: Mapping[str, str], model_id: str) -> list[str]:
    """A model, its parent, and so on to the base model."""
    found = [model_id]
    while (parent := parents.get(found[-1])) is not None and parent not in found:
        found.append(parent)
    return found


def _sides(own: Sequence[str], base: Sequence[str]) -> tuple[list[str], list[str]]:
    """The models on the way from the nearest common ancestor to each of both, the ancestor excluded."""
    common = next((step for step in own if step in base), None)
    if common is None:
        return [], []
    return list(own[: own.index(common)][::-1]), list(base[: base.index(common)][::-1])


def _reshaped(views: Views, models: Sequence[str]) -> dict[str, dict[str, Kept | None]]:
    """The tensors of each model that are not of its parent's shape, with what they kept."""
    found: dict[str, dict[str, Kept | None]] = defaultdict(dict)
    if models:
        text = f"SELECT model_id, layer, tensor, kept FROM layers WHERE reshaped AND model_id IN {marks(models)}"
        for row in rows(views, text, models):
            found[row["model_id"]][tensor_name(row)] = _indices(row["kept"])
    return found


def tensor_name(row: Row) -> str:
    """Name of a tensor within its model, of a row with `layer` and `tensor`."""
    return f"{row['layer']}.{row['tensor']}".lstrip(".")


def _indices(kept: list[list[int]] | None) -> Kept | None:
    return None if kept is None else tuple(np.array(axis, np.int64) for axis in kept)


def _fits(left: Kept, shape: Shape) -> bool:
    return tuple(len(axis) for axis in left) == shape


def _within(kept: Kept, left: Kept) -> bool:
    return len(kept) == len(left) and all(
        not len(here) or int(here.max()) < len(up) for here, up in zip(kept, left, strict=True)
    )
