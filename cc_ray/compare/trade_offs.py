"""Which models are the best compromises between several metrics."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import Row, column, known, marks, one_task, rows
from cc_ray.compare.models import models, of_ids
from cc_ray.compare.statistics import paired_bootstrap
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_COUNTS: Final = ("lost", "gained", "n")
LATENCY: Final = "latency_p50_ms"
SPEEDUP: Final = "speedup"
_SIGN: Final = {"higher": -1.0, "lower": 1.0}


def front(views: Views, objectives: Sequence[str] | Mapping[str, str], *, ids: Iterable[str] | None = None) -> pa.Table:
    """Find the models that no other one beats on every objective.

    A dominates B where A is at least as good on every objective and better on one. Where intervals are to separate, A's
    worse ends must do so against B's better ends; a metric without interval is its own ends. A model that lacks one of
    the objectives, or has NaN there, neither dominates nor is on a front.

    Args:
        views: The store.
        objectives: Metrics, judged by their definition's direction; or direction (higher, lower) by metric.
        ids: Models to choose from; without it all of them.

    Returns:
        Columns: model_id, name, of each objective `<metric>`, `<metric>_low`, `<metric>_high`; on_front (by values),
        on_front_interval (not dominated with intervals separating). Sorted by the first objective, best first.

    Raises:
        NotComparableError: If there is no objective, one is unknown or no value of it is better, or the models are of
            several tasks.
        ModelNotFoundError: If the store has no model of one of the ids.
    """
    chosen = known(views, ids) if ids is not None else column(views, "SELECT model_id FROM models")
    signs = _checked(views, objectives, chosen)
    return _front(of_ids(models(views), chosen), signs)


def recommendations(
    views: Views,
    objectives: Sequence[str] | Mapping[str, str],
    *,
    study: str | None = None,
    at_most: Mapping[str, float] | None = None,
    at_least: Mapping[str, float] | None = None,
) -> pa.Table:
    """The trade-off front of a study's models, each beside the base model that it came from.

    Args:
        views: The store.
        objectives: As `front` takes them.
        study: Only models that this study's trials made or passed; without it all models.
        at_most: Upper bounds by metric; models beyond one, or without the metric, are left out.
        at_least: Lower bounds by metric.

    Returns:
        The rows on the front by values (of latency: by the speed-up against the base in the same run, where it was
        measured), with the columns of `front` except those two that say so, and of each objective
        `<metric>_base` (the base model's value) and `<metric>_change` (value - base value); for accuracy also
        `accuracy_change_low` and `accuracy_change_high` (paired bootstrap over the instances); where the store has it,
        `speedup`, `speedup_low` and `speedup_high` (against the base in the same run, so that a busy machine cancels).

    Raises:
        NotComparableError: As `front` does.
    """
    everything = models(views)
    candidates = everything if study is None else of_ids(everything, _of_study(views, study))
    within = [row["model_id"] for row in candidates.to_pylist() if _keeps(row, at_most or {}, at_least or {})]
    signs = _checked(views, objectives, within)
    judged = _front(of_ids(_same_run_latency(everything), within), signs)
    found = of_ids(everything, judged.filter(judged["on_front"])["model_id"].to_pylist())
    wanted = ["model_id", "name", *_columns(signs), *_columns((SPEEDUP,))]
    found = found.select([name for name in dict.fromkeys(wanted) if name in found.column_names])
    root = dict(zip(everything["model_id"].to_pylist(), everything["root"].to_pylist(), strict=True))
    roots = [root[model_id] for model_id in found["model_id"].to_pylist()]
    bases = of_ids(everything, roots)
    for metric in list(objectives):
        base, value = (np.asarray(table[metric].to_pylist(), float) for table in (bases, found))
        found = found.append_column(f"{metric}_base", pa.array(base, from_pandas=True))
        found = found.append_column(f"{metric}_change", pa.array(value - base, from_pandas=True))
    return _with_paired_interval(views, found, roots) if "accuracy" in objectives else found


def _checked(views: Views, objectives: Sequence[str] | Mapping[str, str], ids: Sequence[str]) -> dict[str, float]:
    signs = _signs(views, objectives)
    one_task(views, ids)
    return signs


def _front(table: pa.Table, signs: Mapping[str, float]) -> pa.Table:
    table = table.select(["model_id", "name", *_columns(signs)])
    values, low, high = (_array(table, signs, end) for end in ("", "_low", "_high"))
    complete = ~np.isnan(values).any(axis=1)
    low, high = np.where(np.isnan(low), values, low), np.where(np.isnan(high), values, high)
    better, worse = np.minimum(low, high), np.maximum(low, high)
    table = table.append_column("on_front", pa.array(not_dominated(values, values) & complete))
    table = table.append_column("on_front_interval", pa.array(not_dominated(worse, better) & complete))
    order = np.lexsort((table["model_id"].to_numpy(zero_copy_only=False).astype(str), values[:, 0]))
    return table.take(pa.array(order))


def _same_run_latency(table: pa.Table) -> pa.Table:
    """Each latency as its base's divided by the speed-up that was measured beside the base, where there is one.

    Two models timed at different times differ by the machine's mood as well, which would put slow ones on the front.
    """
    if not {LATENCY, SPEEDUP} <= set(table.column_names):
        return table
    rows = table.select(["model_id", "root", LATENCY, SPEEDUP]).to_pylist()
    bases = {row["model_id"]: row[LATENCY] for row in rows}
    judged = [
        bases[row["root"]] / row[SPEEDUP] if row[SPEEDUP] and bases.get(row["root"]) else row[LATENCY] for row in rows
    ]
    return table.set_column(table.column_names.index(LATENCY), LATENCY, pa.array(judged, pa.float64()))


def not_dominated(ends: Floats, others: Floats) -> Flags:
    """Whether no row's `ends` beat a row's `others`; smaller is better in every column.

    Args:
        ends: What a row dominates with, (models, objectives).
        others: What a row is dominated in, (models, objectives); at most `ends`.
    """
    free = np.ones(len(others), bool)
    for index, other in enumerate(others):
        beats = (ends <= other).all(axis=1) & (ends < other).any(axis=1)
        free[index] = not beats.any()
    return free


def _keeps(row: Row, at_most: Mapping[str, float], at_least: Mapping[str, float]) -> bool:
    """Whether a model keeps to all bounds; one that lacks a metric does not keep to its bound."""
    below = all(row.get(metric) is not None and row[metric] <= limit for metric, limit in at_most.items())
    return below and all(row.get(metric) is not None and row[metric] >= limit for metric, limit in at_least.items())


def _with_paired_interval(views: Views, found: pa.Table, roots: Sequence[str]) -> pa.Table:
    ids = found["model_id"].to_pylist()
    counts: dict[str, Row] = {}
    for root in dict.fromkeys(roots):
        own = [model_id for model_id, its in zip(ids, roots, strict=True) if its == root]
        text = f"SELECT model_id, lost, gained, n FROM behaviours WHERE base_id = ? AND model_id IN {marks(own)}"
        counts |= {row["model_id"]: row for row in rows(views, text, [root, *own])}
    answered = [model_id for model_id in ids if model_id in counts]
    lost, gained, n = (np.array([counts[model_id][name] for model_id in answered], np.int64) for name in _COUNTS)
    ends = dict(zip(answered, zip(*paired_bootstrap(lost, gained, n), strict=True), strict=True))
    for place, end in enumerate(("low", "high")):
        values = [ends[model_id][place] if model_id in ends else None for model_id in ids]
        found = found.append_column(f"accuracy_change_{end}", pa.array(values, pa.float64()))
    return found


def _signs(views: Views, objectives: Sequence[str] | Mapping[str, str]) -> dict[str, float]:
    if not objectives:
        raise NotComparableError("no objective is named: a trade-off needs at least one metric.")
    defined = {row["metric"]: row["direction"] for row in rows(views, "FROM metric_definitions")}
    for metric in objectives:
        if metric not in defined:
            raise NotComparableError(_unknown(metric, list(defined)))
    given = objectives if isinstance(objectives, Mapping) else {metric: defined[metric] for metric in objectives}
    for metric, direction in given.items():
        if direction not in _SIGN:
            raise NotComparableError(
                f"objective '{metric}' has the direction '{direction}': no value of it is better. Allowed: higher, "
                "lower."
            )
    return {metric: _SIGN[direction] for metric, direction in given.items()}


def _unknown(metric: str, defined: list[str]) -> str:
    nearest = difflib.get_close_matches(metric, defined, n=1)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    return f"no metric '{metric}': {hint}The store has {', '.join(sorted(defined)) or 'none'}."


def _columns(metrics: Iterable[str]) -> list[str]:
    return [f"{metric}{end}" for metric in metrics for end in ("", "_low", "_high")]


def _array(table: pa.Table, signs: Mapping[str, float], end: str) -> Floats:
    return np.stack([sign * np.asarray(table[metric + end].to_pylist(), float) for metric, sign in signs.items()], 1)


def _of_study(views: Views, study: str) -> list[str]:
    text = "SELECT DISTINCT ancestor FROM ancestry JOIN trials USING (model_id) WHERE study_id = ?"
    return column(views, text, [study])
