"""Sums over the classes of instances, in one pass each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Groups:
    """Instances by class; only classes that have any."""

    keys: NDArray[np.int64]
    """The labels, ascending, (groups,)."""
    codes: NDArray[np.int64]
    """Place of each instance's label, (n,)."""
    counts: NDArray[np.int64]
    """Instances of each, (groups,)."""

    @classmethod
    def of(cls, labels: NDArray[Any]) -> Groups:
        """Group by label; one group where all are of one class."""
        if not len(labels):
            return cls(*(np.empty(0, np.int64) for _ in range(3)))
        first = int(labels.min())
        counts = np.bincount(labels - first)
        keys = np.flatnonzero(counts)
        codes = (labels - first).astype(np.int64)
        # Where no label between is missing, the place is the label.
        codes = codes if len(keys) == len(counts) else np.searchsorted(keys, codes)
        return cls(keys + first, codes, counts[keys])

    def sum(self, values: NDArray[Any]) -> Floats:
        """Sum of each group, (groups,)."""
        if len(self.keys) == 1:
            return np.array([np.sum(values, dtype=np.float64)])
        return np.bincount(self.codes, weights=values, minlength=len(self.keys)).astype(np.float64)

    def mean(self, values: NDArray[Any]) -> Floats:
        """Mean of each group, (groups,)."""
        return self.sum(values) / self.counts

    def count(self, flags: Flags) -> NDArray[np.int64]:
        """How many of each group are true, (groups,)."""
        if len(self.keys) == 1:
            return np.array([np.count_nonzero(flags)])
        return np.bincount(self.codes[flags], minlength=len(self.keys))


def numbers(column: pa.ChunkedArray) -> Floats:
    """A column of numbers or flags in double precision, NaN where a value is null, (n,)."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    values: Floats = (pc.fill_null(column.cast(pa.float64()), np.nan) if column.null_count else column).to_numpy()
    return values.astype(np.float64, copy=False)


def flags(column: pa.ChunkedArray) -> Flags:
    """A column of flags, false where it is null, (n,)."""
    whole: Flags = (pc.fill_null(column, False) if column.null_count else column).to_numpy()
    return whole
