"""What the metrics of a model mean in a study: its objectives, how far it keeps the bounds, and how the front grows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cc_ray.compare.trade_offs.hypervolume import added_volume, volume_of
from cc_ray.search.space import SearchSpace

Limits = Mapping[str, float | None]
"""By objective the worst value that the metric's definition allows; None where it allows any."""


@dataclass(frozen=True)
class Verdict:
    """A model whose objectives and bounded metrics are all known."""

    objectives: tuple[float, ...]
    """Values in the order of the space's objectives."""
    excess: Mapping[str, float]
    """How far each bound is exceeded; 0 or less keeps it."""

    @property
    def keeps_bounds(self) -> bool:
        """Whether the model counts as a solution."""
        return all(value <= 0 for value in self.excess.values())


def judged(space: SearchSpace, values: Mapping[str, float] | None) -> Verdict | None:
    """Judge a model by its metrics; None where one that is needed is missing or no finite number."""
    needed = [*space.objectives, *(constraint.metric for constraint in space.constraints)]
    if values is None or not all(math.isfinite(values.get(metric, math.nan)) for metric in needed):
        return None
    excess = {f"{c.metric} {c.sense} {c.limit:g}": c.excess(values[c.metric]) for c in space.constraints}
    return Verdict(tuple(values[metric] for metric in space.objectives), excess)


def worst_possible(space: SearchSpace) -> Limits:
    """By objective the worst value that its definition allows; None where it allows any."""
    # Imported here: those who only wait for steps import this file too, and need no torch.
    from cc_ray.evaluate import metrics

    defined = {metric: metrics[metric].definition for metric in space.objectives}
    return {metric: it.min if space.objectives[metric] == "higher" else it.max for metric, it in defined.items()}


class Front:
    """The hypervolume of the models of a study so far, with the reference point that `compare.hypervolume` takes.

    Args:
        space: The study's.
        limits: Worst possible values of its objectives.
    """

    def __init__(self, space: SearchSpace, limits: Limits) -> None:
        self._signs = np.array([-1.0 if direction == "higher" else 1.0 for direction in space.objectives.values()])
        fixed = [math.nan if (worst := limits.get(metric)) is None else worst for metric in space.objectives]
        self._fixed = self._signs * np.array(fixed)
        self._bases: list[Sequence[float]] = []
        self._points = np.empty((0, len(self._signs)))

    @property
    def volume(self) -> float | None:
        """In the product of the objectives' units; None until a base model is known where it takes one."""
        reference = self._reference()
        return None if reference is None else volume_of(self._points, reference)

    def add_base(self, verdict: Verdict) -> None:
        """Tell of a base model: the worst of them bounds objectives that know no worst value."""
        self._bases.append(verdict.objectives)

    def add(self, verdict: Verdict) -> bool:
        """Add a model that keeps the bounds; returns whether the volume grows."""
        point, reference = self._signs * np.array(verdict.objectives), self._reference()
        grows = reference is None or added_volume(point, self._points, reference) > 0
        if grows:
            self._points = np.vstack([self._points, point])
        return grows

    def _reference(self) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
        if not self._bases:
            return None if np.isnan(self._fixed).any() else self._fixed
        worst: np.ndarray[tuple[int], np.dtype[np.float64]] = (self._signs * np.array(self._bases)).max(axis=0)
        return np.where(np.isnan(self._fixed), worst, self._fixed)
