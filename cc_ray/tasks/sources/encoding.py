"""Columns of tables as numbers for a model: numbers standardised, categories one by one or as indices.

What numbers are standardised by, and which categories there are, the train split alone decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cc_ray.errors import InvalidRecipeError
from cc_ray.tasks.sources.rows import Rows

Categories = Literal["one_hot", "indices"]
"""A category is an input of its own that is 1 where it holds, or an index; then models embed it."""


@dataclass(frozen=True)
class Number:
    """A column of numbers."""

    name: str
    mean: float
    """Of the train split; also stands in where there is no value."""
    std: float
    """Of the train split; 1 where all values are equal."""

    @classmethod
    def seen(cls, name: str, values: NDArray[np.float64]) -> Self:
        """What the train split says of it; NaN is no value."""
        known = values[np.isfinite(values)]
        return cls(name, float(known.mean()) if len(known) else 0.0, (float(known.std()) if len(known) else 0.0) or 1.0)

    def standardised(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values less the mean in units of the standard deviation; 0 where there is none."""
        scaled: NDArray[np.float64] = (values - self.mean) / self.std
        return np.where(np.isfinite(scaled), scaled, 0.0)


@dataclass(frozen=True)
class Category:
    """A column of categories."""

    name: str
    values: tuple[str, ...]
    """Those of the train split, in order."""

    def indices(self, texts: pa.Array) -> NDArray[np.int64]:
        """Index of each, from 1; 0 where there is no value or one that the train split lacks, (n,)."""
        places = pc.fill_null(pc.index_in(texts, pa.array(self.values, pa.string())), -1)
        found: NDArray[np.int64] = places.to_numpy(zero_copy_only=False).astype(np.int64) + 1
        return found


@dataclass(frozen=True)
class Encoding:
    """How rows become the inputs of a model: numbers first, then categories."""

    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    how: Categories

    @classmethod
    def fitted(cls, rows: Rows, features: Sequence[str], categories: Sequence[str], how: Categories) -> Self:
        """Learn it from the rows of the train split.

        Args:
            rows: Those of the train split.
            features: Columns that models see.
            categories: Columns of numbers that are names all the same.
            how: How categories are given to models.

        Raises:
            InvalidRecipeError: If a column is not there, or is neither numbers nor text nor true and false.
        """
        named = {name: name in categories or _are_names(rows, name) for name in features}
        numbers = tuple(Number.seen(name, _numbers(rows, name)) for name in features if not named[name])
        texts = {name: pc.unique(_texts(rows, name).drop_null()).to_pylist() for name in features if named[name]}
        return cls(numbers, tuple(Category(name, tuple(sorted(held))) for name, held in texts.items()), how)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of indices of each category, that of no value included."""
        return tuple(1 + len(category.values) for category in self.categories)

    def inputs(self, rows: Rows) -> NDArray[np.float32]:
        """What models see of each row, (n, inputs)."""
        parts: list[NDArray[Any]] = [
            number.standardised(_numbers(rows, number.name))[:, None] for number in self.numbers
        ]
        for category in self.categories:
            indices = category.indices(_texts(rows, category.name))
            one_hot = self.how == "one_hot"
            parts.append(np.eye(1 + len(category.values))[indices][:, 1:] if one_hot else indices[:, None])
        return np.concatenate(parts, axis=1, dtype=np.float32)


def row_texts(rows: Rows, features: Sequence[str]) -> list[bytes]:
    """Each row's features as bytes that are equal where the features are."""
    columns = [_texts(rows, name) if _are_names(rows, name) else pa.array(_numbers(rows, name)) for name in features]
    return [repr(row).encode() for row in zip(*(column.to_pylist() for column in columns), strict=True)]


def _are_names(rows: Rows, name: str) -> bool:
    kind = rows.column(name).type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        return True
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        return False
    raise InvalidRecipeError(f"column '{name}' is {kind}; models see numbers, text, and true or false: leave it out.")


def _numbers(rows: Rows, name: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = rows.column(name).cast(pa.float64()).to_numpy()
    return found


def _texts(rows: Rows, name: str) -> pa.Array:
    return rows.column(name).cast(pa.string()).combine_chunks()
