"""Whether models are as good as required."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from cc_ray.compare.asking import Row, known
from cc_ray.compare.models import models, of_ids
from cc_ray.compare.trade_offs.expressions import Requirement, parse
from cc_ray.compare.trade_offs.objectives import check_defined
from cc_ray.errors import NotComparableError
from cc_ray.views import Views


@dataclass(frozen=True)
class Checked:
    """Models against what is required of them."""

    models: pa.Table
    """A row per model, those that fail first: model_id, name, meets, lacks (metrics of the bounds that it has no value
    of)."""
    bounds: pa.Table
    """A row per model and bound, in the same order: model_id, bound (`accuracy >= 0.97`), metric, value (null where the
    model lacks it), met (null where it does)."""
    met_by: int
    """Models that meet it."""
    failed_by: int
    """Models that do not."""


def check(views: Views, require: str, ids: Iterable[str] | None = None) -> Checked:
    """Which models meet bounds on their metrics, joined by and, or, not and brackets?

    A model that lacks a metric meets the requirement only where the other bounds decide it alone.

    Args:
        views: The store.
        require: Bounds, such as `accuracy >= 0.97 and (size_bytes <= 1e6 or not sparsity < 0.5)`; values in the
            metrics' units.
        ids: Models to check; without it all of them.

    Raises:
        ParameterError: If the requirement cannot be understood.
        NotComparableError: If the store does not define a metric of it, with the nearest, or has no model to check.
        ModelNotFoundError: If the store has no model of one of the ids.
    """
    requirement = parse(require)
    check_defined(views, [bound.metric for bound in requirement.bounds])
    everything = models(views)
    table = everything if ids is None else of_ids(everything, known(views, ids))
    if not table.num_rows:
        raise NotComparableError("there is no model to check: the store has none yet, or none is named.")
    checked = [_checked(row, requirement) for row in _values(table, requirement)]
    checked.sort(key=lambda pair: bool(pair[0]["meets"]))
    met = sum(bool(model["meets"]) for model, _ in checked)
    return Checked(
        pa.Table.from_pylist([model for model, _ in checked], _MODELS),
        pa.Table.from_pylist([row for _, rows in checked for row in rows], _BOUNDS),
        met,
        len(checked) - met,
    )


_MODELS = pa.schema({"model_id": pa.string(), "name": pa.string(), "meets": pa.bool_(), "lacks": pa.list_(pa.string())})
_BOUNDS = pa.schema(
    {"model_id": pa.string(), "bound": pa.string(), "metric": pa.string(), "value": pa.float64(), "met": pa.bool_()}
)


def _values(table: pa.Table, requirement: Requirement) -> list[Row]:
    metrics = dict.fromkeys(bound.metric for bound in requirement.bounds)
    found: list[Row] = table.select(["model_id", "name", *metrics]).to_pylist()
    return found


def _checked(row: Row, requirement: Requirement) -> tuple[Row, list[Row]]:
    # An infinite value was not measured.
    values = {bound.metric: _finite(row[bound.metric]) for bound in requirement.bounds}
    model = {
        "model_id": row["model_id"],
        "name": row["name"],
        "meets": requirement.expression.met(values) is True,
        "lacks": [metric for metric, value in values.items() if value is None],
    }
    bounds = [
        {
            "model_id": row["model_id"],
            "bound": str(bound),
            "metric": bound.metric,
            "value": values[bound.metric],
            "met": bound.met(values),
        }
        for bound in requirement.bounds
    ]
    return model, bounds


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
