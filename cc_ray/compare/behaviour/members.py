"""Sums over named slices of instances, of which an instance may be in several: what `Groups` gives by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from cc_ray.compare.asking import one_task
from cc_ray.compare.behaviour.slices import named_instances
from cc_ray.views import Views

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Members:
    """Instances by slice; only slices that have any."""

    keys: list[str]
    """Names, (slices,)."""
    counts: Integers
    """Instances of each, (slices,)."""
    inside: Any
    """1 where an instance is in a slice, (slices, n), a sparse matrix."""

    def sum(self, values: NDArray[Any]) -> Floats:
        """Sum of each slice, (slices,)."""
        found: Floats = self.inside @ values.astype(np.float64)
        return found

    def mean(self, values: NDArray[Any]) -> Floats:
        """Mean of each slice, (slices,)."""
        return self.sum(values) / self.counts

    def count(self, flags: NDArray[np.bool_]) -> Integers:
        """How many of each slice are true, (slices,)."""
        found: Integers = self.inside @ flags.astype(np.int64)
        return found


class Membership:
    """The named slices of a model's task.

    Args:
        views: The store.
        model: Model.
    """

    def __init__(self, views: Views, model: str) -> None:
        self._slices = named_instances(views, one_task(views, [model]))
        self._of: Integers | None = None
        self._found: Members | None = None

    def of(self, instances: Integers) -> Members:
        """Which of these instances, ascending, are in which slice."""
        # Most models answered the same instances.
        if self._found is None or self._of is None or not np.array_equal(instances, self._of):
            self._of, self._found = instances, self._members(instances)
        return self._found

    def _members(self, instances: Integers) -> Members:
        places = [np.flatnonzero(np.isin(instances, own, assume_unique=True)) for own in self._slices.values()]
        there = [(name, own) for name, own in zip(self._slices, places, strict=True) if len(own)]
        lengths = np.array([len(own) for _, own in there], np.int64)
        index = np.concatenate([np.empty(0, np.int64), *(own for _, own in there)])
        ends = np.cumsum([0, *lengths])
        inside = scipy.sparse.csr_array((np.ones(len(index), np.int64), index, ends), (len(there), len(instances)))
        return Members([name for name, _ in there], lengths, inside)
