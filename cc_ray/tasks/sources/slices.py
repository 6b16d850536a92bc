"""Slices: named subsets of the evaluation instances, by what columns say of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.sources.expressions import check, holds

MOST_VALUES: Final = 200
"""Different values of a column that is to make a slice of each."""


def _checked(condition: str) -> str:
    check(condition)
    return condition


def _rising(edges: tuple[float, ...]) -> tuple[float, ...]:
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError("the edges must rise")
    return edges


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Ranges(_Fields):
    """Slices by a column of numbers: below the first edge, between each two, from the last on."""

    column: str
    """Its name."""
    edges: Annotated[tuple[float, ...], Field(min_length=1, max_length=MOST_VALUES), AfterValidator(_rising)]
    """Where one range ends and the next begins; a value that is an edge belongs to the range above it."""


class Where(_Fields):
    """One slice by a condition."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    """What it is called."""
    where: Annotated[str, AfterValidator(_checked)]
    """When an instance belongs to it, as in `expressions`."""


Slice = str | Ranges | Where
"""A column that makes a slice of each of its values, ranges of one, or a condition."""


def members(slices: Iterable[Slice], columns: pa.Table, classes: Sequence[str] | None = None) -> list[list[str]]:
    """Names of the slices that each row belongs to, (n,).

    Args:
        slices: What makes them.
        columns: What is known of each row.
        classes: The class of each row, which makes the slices `class:NAME`; None makes none.

    Raises:
        InvalidRecipeError: If a column is not there, or has too many values or the wrong kind, or a slice is empty.
    """
    found: list[list[str]] = [[f"class:{name}"] for name in classes] if classes else [[] for _ in range(len(columns))]
    for item in slices:
        for name, held in _SORTS[type(item)](item, columns):  # type: ignore[operator]
            for place in np.flatnonzero(held):
                found[place].append(name)
    return [list(dict.fromkeys(names)) for names in found]


def _by_value(name: str, columns: pa.Table) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    values = _column(name, columns)
    different = pc.unique(values.drop_null())
    if len(different) > MOST_VALUES:
        raise InvalidRecipeError(
            f"column '{name}' has {len(different)} different values, at most {MOST_VALUES} make slices: cut it into "
            f'ranges, {{"column": "{name}", "edges": [...]}}.'
        )
    for value in different:
        yield f"{name}:{value.as_py()}", pc.fill_null(pc.equal(values, value), False).to_numpy()


def _by_range(ranges: Ranges, columns: pa.Table) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    column = _column(ranges.column, columns)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise InvalidRecipeError(f"column '{ranges.column}' is {column.type}: only numbers have ranges.")
    values = column.to_numpy()
    # NaN, which is also what has no value, is in none.
    place = np.where(np.isnan(values), -1, np.digitize(values, ranges.edges))
    edges = [f"{edge:g}" for edge in ranges.edges]
    names = [f"<{edges[0]}", *(f"{low}..{high}" for low, high in pairwise(edges)), f">={edges[-1]}"]
    for index, name in enumerate(names):
        yield f"{ranges.column}:{name}", place == index


def _by_condition(named: Where, columns: pa.Table) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    held = holds(named.where, columns)
    if not held.any():
        raise InvalidRecipeError(f"slice '{named.name}': no evaluation instance meets `{named.where}`.")
    yield named.name, held


def _column(name: str, columns: pa.Table) -> pa.ChunkedArray:
    if name not in columns.column_names:
        there = ", ".join(columns.column_names)
        raise InvalidRecipeError(f"slices: the data has no column '{name}'; there are: {there}.")
    return columns[name]


_SORTS: Final = {str: _by_value, Ranges: _by_range, Where: _by_condition}
