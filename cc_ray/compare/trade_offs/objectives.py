"""Models judged by several metrics: what is better, by which values, and which models take part.

Latency is judged by the speed-up that was measured beside the base model, in the same run: two models that were timed
at different times differ by the machine's mood as well, which would put slow ones on a front. What is shown stays as
it was measured.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import column, known, only_task
from cc_ray.compare.models import metric_definitions, models, of_ids
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Objectives = Sequence[str] | Mapping[str, str]
"""Metrics, judged by their definition's direction; or direction (higher, lower) by metric."""
Bounds = Mapping[str, float]
"""Limit by metric."""

LATENCY: Final = "latency_p50_ms"
SPEEDUP: Final = "speedup"
_SIGN: Final = {"higher": -1.0, "lower": 1.0}


@dataclass(frozen=True)
class Judged:
    """Models with their values, turned so that smaller is better."""

    table: pa.Table
    """Rows of `models` as measured."""
    signs: Mapping[str, float]
    """By metric: 1 where lower is better, -1 where higher is."""
    values: Floats
    """(models, objectives); NaN where a model lacks one."""
    low: Floats
    """Better ends of the intervals; the value itself where there is none."""
    high: Floats
    """Worse ends."""

    @property
    def complete(self) -> Flags:
        """Which models have all objectives; a value that is infinite was not measured."""
        return np.asarray(np.isfinite(self.values).all(axis=1), bool)

    @property
    def shown(self) -> pa.Table:
        """model_id, name, and of each objective `<metric>`, `<metric>_low`, `<metric>_high`."""
        return self.table.select(["model_id", "name", *columns(self.signs)])

    @property
    def ids(self) -> list[str]:
        """The models."""
        found: list[str] = self.table["model_id"].to_pylist()
        return found

    def of(self, chosen: Flags | NDArray[np.int64]) -> Judged:
        """Only these of the models."""
        places = np.arange(len(self.values))[chosen]
        ends = (array[places] for array in (self.values, self.low, self.high))
        return Judged(self.table.take(pa.array(places)), self.signs, *ends)

    def best_first(self) -> NDArray[np.int64]:
        """Places of the models, sorted by the first objective, then by model_id."""
        ids = self.table["model_id"].to_numpy(zero_copy_only=False).astype(str)
        return np.lexsort((ids, self.values[:, 0]))


def judged(
    views: Views,
    objectives: Objectives,
    *,
    ids: Iterable[str] | None = None,
    study: str | None = None,
    at_most: Bounds | None = None,
    at_least: Bounds | None = None,
) -> Judged:
    """Judge models by objectives.

    Args:
        views: The store.
        objectives: Metrics.
        ids: Models to choose from; without it all of them.
        study: Only models that this study's trials made or passed.
        at_most: Upper bounds of the values as measured; models beyond one, or without the metric, are left out.
        at_least: Lower bounds.

    Raises:
        NotComparableError: If there is no objective, one is unknown or no value of it is better, a bound is of an
            unknown metric, or the models are of several tasks.
        ModelNotFoundError: If the store has no model of one of the ids.
    """
    signs = _signs(views, objectives)
    everything = models(views)
    table = everything if ids is None else of_ids(everything, known(views, ids))
    if study is not None:
        among = set(of_study(views, study))
        table = table.filter(pa.array([model_id in among for model_id in table["model_id"].to_pylist()], pa.bool_()))
    table = table.filter(pa.array(_within(views, table, at_most or {}, at_least or {})))
    only_task(table["task_id"].unique().to_pylist())
    ends = [_judged(table, everything, metric, sign) for metric, sign in signs.items()]
    return Judged(table, signs, *(np.stack([end[place] for end in ends], axis=1) for place in range(3)))


def of_study(views: Views, study: str) -> list[str]:
    """Models that a study's trials made or passed; of one without trials, as importers make them, its own models."""
    text = """
        SELECT DISTINCT ancestor FROM ancestry JOIN trials USING (model_id) WHERE study_id = ?
        UNION ALL
        SELECT model_id FROM models
        WHERE study_id = ? AND study_id NOT IN (SELECT study_id FROM trials)
    """
    return column(views, text, [study, study])


def columns(metrics: Iterable[str]) -> list[str]:
    """Columns of `models` that hold the metrics."""
    return [f"{metric}{end}" for metric in metrics for end in ("", "_low", "_high")]


def numbers(table: pa.Table, name: str) -> Floats:
    """A column as numbers, NaN where there is none."""
    found: Floats = table[name].cast(pa.float64()).to_numpy()
    return found


def check_defined(views: Views, metrics: Iterable[str]) -> None:
    """Make sure that the store defines the metrics.

    Raises:
        NotComparableError: If it does not define one, with the nearest that it does.
    """
    defined = metric_definitions(views)["metric"].to_pylist()
    for metric in metrics:
        if metric not in defined:
            nearest = difflib.get_close_matches(metric, defined, n=1)
            hint = f"did you mean '{nearest[0]}'? " if nearest else ""
            raise NotComparableError(
                f"no metric '{metric}': {hint}The store has {', '.join(sorted(defined)) or 'none'}."
            )


def _signs(views: Views, objectives: Objectives) -> dict[str, float]:
    if not objectives:
        raise NotComparableError("no objective is named: a trade-off needs at least one metric.")
    check_defined(views, objectives)
    defined = {row["metric"]: row["direction"] for row in metric_definitions(views).to_pylist()}
    given = objectives if isinstance(objectives, Mapping) else {metric: defined[metric] for metric in objectives}
    for metric, direction in given.items():
        if direction not in _SIGN:
            raise NotComparableError(
                f"objective '{metric}' has the direction '{direction}': no value of it is better. Allowed: higher, "
                "lower."
            )
    return {metric: _SIGN[direction] for metric, direction in given.items()}


def _within(views: Views, table: pa.Table, at_most: Bounds, at_least: Bounds) -> Flags:
    """Which models keep to all bounds; one that lacks a metric does not keep to its bound."""
    check_defined(views, [*at_most, *at_least])
    kept = np.ones(table.num_rows, bool)
    for metric, limit in at_most.items():
        kept &= numbers(table, metric) <= limit
    for metric, limit in at_least.items():
        kept &= numbers(table, metric) >= limit
    return kept


def _judged(table: pa.Table, everything: pa.Table, metric: str, sign: float) -> tuple[Floats, Floats, Floats]:
    """Value, better end and worse end by which a metric is judged."""
    value, low, high = (numbers(table, f"{metric}{end}") for end in ("", "_low", "_high"))
    if metric == LATENCY and SPEEDUP in table.column_names:
        value, low, high = _in_the_same_run(table, everything, value, low, high)
    ends = sign * np.stack([value, np.where(np.isnan(low), value, low), np.where(np.isnan(high), value, high)])
    return sign * value, ends.min(axis=0), ends.max(axis=0)


def _in_the_same_run(
    table: pa.Table, everything: pa.Table, value: Floats, low: Floats, high: Floats
) -> tuple[Floats, Floats, Floats]:
    """Each latency as its base's divided by the speed-up that was measured beside the base, where there is one.

    A base model is as fast as itself, exactly: the noise of a comparison is all in the other's speed-up.
    """
    measured = dict(zip(everything["model_id"].to_pylist(), numbers(everything, LATENCY).tolist(), strict=True))
    ids, roots = table["model_id"].to_pylist(), table["root"].to_pylist()
    base = np.array([measured.get(root, np.nan) for root in roots], float)
    own = np.array([model_id == root for model_id, root in zip(ids, roots, strict=True)], bool)
    speedup, slowest, fastest = (np.where(own, 1.0, numbers(table, f"{SPEEDUP}{end}")) for end in ("", "_low", "_high"))
    there = (speedup > 0) & ~np.isnan(base)
    with np.errstate(divide="ignore", invalid="ignore"):
        same_run = base / speedup, base / fastest, base / slowest
    value, low, high = (np.where(there, *pair) for pair in zip(same_run, (value, low, high), strict=True))
    return value, low, high
