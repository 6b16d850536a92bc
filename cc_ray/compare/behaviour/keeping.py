"""Which instances a question is asked of: of a class, that fulfil a condition, whose measures lie in intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cc_ray.compare.asking import known
from cc_ray.compare.behaviour.conditions import fulfilling, plain
from cc_ray.compare.behaviour.pairing import PARENT, ROOT, each_paired, pairs
from cc_ray.compare.behaviour.values import computed, values_of
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Intervals = Mapping[str, tuple[float, float]]


@dataclass
class Keep:
    """Instances that are kept of a table as `paired` gives them."""

    label: int | None = None
    """Only those of this class."""
    instances: Integers | None = None
    """Only these, ascending; None for all."""
    _of: Integers | None = field(default=None, repr=False)
    _flags: Flags | None = field(default=None, repr=False)

    def flags(self, table: pa.Table) -> Flags:
        """Which rows are kept, (n,)."""
        own: Integers = table["instance"].to_numpy()
        # Most models answered the same instances, in the same order.
        if self._flags is None or self._of is None or not np.array_equal(own, self._of):
            self._of, self._flags = own, self._kept(own, table)
        return self._flags

    def rows(self, table: pa.Table) -> pa.Table:
        """The rows that are kept."""
        return table if self.label is None and self.instances is None else table.filter(pa.array(self.flags(table)))

    def _kept(self, own: Integers, table: pa.Table) -> Flags:
        found = np.ones(len(own), bool)
        if self.instances is not None:
            found &= np.isin(own, self.instances, assume_unique=True)
        if self.label is not None:
            found &= table["label"].to_numpy() == self.label
        return found


def keep(
    views: Views,
    base: str,
    *,
    label: int | None = None,
    where: str = "",
    between: Intervals | None = None,
    measure: str = "",
    kind: str = "difference",
) -> Keep:
    """What is kept.

    Args:
        views: The store.
        base: Model whose answers the condition looks at and that the measure is taken against.
        label: Only instances of this class.
        where: A plain condition; empty for none.
        between: By model, ends of the closed interval in which its value lies; all of them must hold.
        measure: Whose values these are.
        kind: How the measure is taken against the base.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If there is a condition and no one base.
        QueryError: If the condition is not a plain one.
    """
    parts = []
    if where:
        if base in (PARENT, ROOT):
            raise NotComparableError(f"a condition looks at the answers of one base: name it instead of {base}.")
        parts.append(fulfilling(views, known(views, [base])[0], plain(where)))
    if between:
        parts += _inside(views, base, between, measure, kind)
    joined = reduce(lambda a, b: np.intersect1d(a, b, assume_unique=True), parts) if parts else None
    return Keep(label, joined)


def _inside(views: Views, base: str, between: Intervals, measure: str, kind: str) -> list[Integers]:
    wanted = pairs(views, between, base)
    found = []
    for pair, table in each_paired(views, wanted, computed(measure)):
        low, high = between[pair.model]
        values = pc.fill_null(values_of(table, measure, kind), np.nan).to_numpy()
        found.append(table["instance"].to_numpy()[(values >= low) & (values <= high)])
    return found
