"""Which models are looked at: those within intervals of metrics, and those whose recipes hold words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import known, remembered
from cc_ray.compare.labels import Labels, title, value_text
from cc_ray.compare.models import models
from cc_ray.compare.trade_offs.objectives import Bounds, check_defined, numbers
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

BINS: Final = 20

HISTOGRAM: Final = pa.schema(
    {"metric": pa.string(), "low": pa.float64(), "high": pa.float64(), "count": pa.int64(), "kept": pa.int64()}
)


def passing(
    views: Views, *, at_least: Bounds | None = None, at_most: Bounds | None = None, search: str = ""
) -> list[str]:
    """Find the models that keep to all bounds and whose recipes hold all words; oldest first.

    Args:
        views: The store.
        at_least: Lower bounds by metric, allowed themselves; a model that lacks the metric does not keep to its bound.
        at_most: Upper bounds by metric, allowed themselves.
        search: Words, in any order and case: parts of a base model's name, of an operation's, of `parameter=value` of
            any step, or the first digits of an identity.

    Raises:
        NotComparableError: If a bound is of an unknown metric.
    """
    table = models(views)
    check_defined(views, [*(at_least or {}), *(at_most or {})])
    kept = np.ones(table.num_rows, bool)
    for metric, limit in (at_least or {}).items():
        kept &= numbers(table, metric) >= limit
    for metric, limit in (at_most or {}).items():
        kept &= numbers(table, metric) <= limit
    words = search.lower().split()
    found = (model_id for model_id, keeps in zip(table["model_id"].to_pylist(), kept.tolist(), strict=True) if keeps)
    if not words:
        return list(found)
    texts = remembered(views, "searched texts", lambda: _texts(table))
    return [model_id for model_id in found if all(word in texts[model_id] for word in words)]


def metric_histogram(views: Views, metric: str, *, bins: int = BINS, ids: Iterable[str] | None = None) -> pa.Table:
    """How a metric's values are distributed over all models, and over some of them.

    The bins are as wide as each other and reach from the least value to the greatest; few whole numbers get one each.

    Args:
        views: The store.
        metric: Any metric.
        bins: How many, at least 1.
        ids: Models that `kept` counts; without it all of them.

    Returns:
        A row per bin: metric, low, high (of the last bin allowed itself), count (of all models), kept (of those asked
        for). None where no model has the metric.

    Raises:
        NotComparableError: If the metric is unknown or `bins` is below 1.
        ModelNotFoundError: If the store has no model of one of the ids.
    """
    check_defined(views, [metric])
    if bins < 1:
        raise NotComparableError(f"{bins} bins cannot hold values: ask for one at least.")
    table = models(views)
    values = numbers(table, metric)
    there = np.isfinite(values)
    if not there.any():
        return HISTOGRAM.empty_table()
    edges = _edges(values[there], bins)
    wanted = None if ids is None else set(known(views, ids))
    among = there & np.array([wanted is None or model_id in wanted for model_id in table["model_id"].to_pylist()])
    counts, kept = (np.histogram(values[which], edges)[0] for which in (there, among))
    names = pa.array([metric] * len(counts), pa.string())
    return pa.Table.from_arrays([names, *map(pa.array, (edges[:-1], edges[1:], counts, kept))], schema=HISTOGRAM)


def _edges(values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    low, high = float(values.min()), float(values.max())
    if (values == values.round()).all() and high - low < bins:
        return np.arange(low - 0.5, high + 1)
    return np.linspace(low, high, bins + 1) if high > low else np.array([low - 0.5, low + 0.5])


def _texts(table: pa.Table) -> dict[str, str]:
    """What is searched, by model_id: identity, base, and all steps with their parameters."""
    rows = {row["model_id"]: row for row in table.select(_READ).to_pylist()}
    labels = Labels(rows)
    steps: dict[str, str] = {}
    for model_id in rows:
        way = []
        at = model_id
        while at in rows and at not in steps:
            way.append(at)
            at = rows[at]["parent"]
        for step in reversed(way):
            before = steps.get(rows[step]["parent"], "")
            steps[step] = f"{before} {_step_text(rows[step], labels.parameters[step])}"
    return {model_id: f"{model_id} {row['name']} {steps[model_id]}".lower() for model_id, row in rows.items()}


_READ: Final = ["model_id", "name", "base", "operation", "parameters", "parent"]


def _step_text(row: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    if row["operation"] is None:
        return str(row["base"])
    given = " ".join(f"{name}={value_text(value)}" for name, value in parameters.items())
    return f"{row['operation']} {title(row['operation'])} {given}"
