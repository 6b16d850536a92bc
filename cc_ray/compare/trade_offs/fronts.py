"""Which models are the best compromises between several metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.asking import Row, marks, rows
from cc_ray.compare.models import models, of_ids
from cc_ray.compare.statistics.intervals import paired_bootstrap
from cc_ray.compare.trade_offs.dominance import Flags, not_dominated, not_dominated_beyond_noise
from cc_ray.compare.trade_offs.objectives import SPEEDUP, Bounds, Judged, Objectives, columns, judged
from cc_ray.errors import NotComparableError
from cc_ray.views import Views

_COUNTS: Final = ("lost", "gained", "n")
NO_OPERATION: Final = "no operation"
"""Group of the base models."""

_GROUPS: Final = {
    "operation": f"""
        SELECT DISTINCT ancestry.model_id, models.operation AS "group"
        FROM ancestry JOIN models ON models.model_id = ancestor
        WHERE models.operation IS NOT NULL
        UNION SELECT model_id, '{NO_OPERATION}' FROM models WHERE step_index = 0
    """,
    "base": 'SELECT model_id, base AS "group" FROM models',
    "study": """
        SELECT DISTINCT ancestor AS model_id, study_id AS "group" FROM ancestry JOIN trials USING (model_id)
        UNION SELECT model_id, study_id FROM models
    """,
}


def front(
    views: Views,
    objectives: Objectives,
    *,
    ids: Iterable[str] | None = None,
    at_most: Bounds | None = None,
    at_least: Bounds | None = None,
) -> pa.Table:
    """Find the models that no other one beats on every objective.

    By values, A dominates B where A is at least as good on every objective and better on one. By intervals, A
    dominates B where A's interval is better than B's and apart from it on one objective, and B's better than A's and
    apart from it on none: what is better by less than the intervals counts as equal. A metric without interval is its
    own ends. A model that lacks one of the objectives, or has NaN or infinity there, neither dominates nor is on a
    front; equal models are on it together.

    Latency is judged by the speed-up against the base model in the same run, where that was measured: the base's
    latency divided by it. The columns show what was measured.

    Args:
        views: The store.
        objectives: Metrics, judged by their definition's direction; or direction (higher, lower) by metric.
        ids: Models to choose from; without it all of them.
        at_most: Upper bounds by metric, of the values as measured; models beyond one, or without the metric, are left
            out.
        at_least: Lower bounds by metric.

    Returns:
        Columns: model_id, name, of each objective `<metric>`, `<metric>_low`, `<metric>_high`; on_front (by values),
        on_front_interval (by intervals). Sorted by the first objective, best first.

    Raises:
        NotComparableError: If there is no objective, one is unknown or no value of it is better, a bound is of an
            unknown metric, or the models are of several tasks.
        ModelNotFoundError: If the store has no model of one of the ids.
    """
    found = judged(views, objectives, ids=ids, at_most=at_most, at_least=at_least)
    table = found.shown.append_column("on_front", pa.array(on_front(found)))
    table = table.append_column("on_front_interval", pa.array(_on_front_by_intervals(found)))
    return table.take(pa.array(found.best_first()))


def fronts(
    views: Views,
    objectives: Objectives,
    *,
    by: str = "operation",
    study: str | None = None,
    ids: Iterable[str] | None = None,
) -> pa.Table:
    """A front per group of models, by values: baselines beside what is to be better than them.

    Args:
        views: The store.
        objectives: As `front` takes and judges them.
        by: What makes a group: operation (models whose recipe holds it, so that a model can stand in several groups;
            base models are "no operation"), base, or study (that made or passed the models).
        study: Only models that this study's trials made or passed.
        ids: Models to choose from; without it all of them.

    Returns:
        A row per group and model on the group's front: group, the columns of `front` up to the objectives,
        on_overall_front (whether no model of any group beats it). Sorted by group, then the first objective.

    Raises:
        NotComparableError: As `front` does, and on another `by`.
        ModelNotFoundError: If the store has no model of one of the ids.
    """
    if by not in _GROUPS:
        raise NotComparableError(f"models cannot be grouped by '{by}'. Allowed: {', '.join(_GROUPS)}.")
    found = judged(views, objectives, study=study, ids=ids)
    overall = on_front(found)
    place = {model_id: index for index, model_id in enumerate(found.ids)}
    groups: dict[str, list[int]] = {}
    for row in rows(views, f'SELECT model_id, "group" FROM ({_GROUPS[by]}) WHERE "group" <> \'\''):
        if row["model_id"] in place:
            groups.setdefault(row["group"], []).append(place[row["model_id"]])
    pieces = [_group(found, name, np.array(sorted(groups[name]), np.int64), overall) for name in sorted(groups)]
    return pa.concat_tables([_group(found, "", np.zeros(0, np.int64), overall), *pieces])


def recommendations(
    views: Views,
    objectives: Objectives,
    *,
    study: str | None = None,
    at_most: Bounds | None = None,
    at_least: Bounds | None = None,
) -> pa.Table:
    """The trade-off front of a study's models, each beside the base model that it came from.

    Args:
        views: The store.
        objectives: As `front` takes and judges them.
        study: Only models that this study's trials made or passed; without it all models.
        at_most: Upper bounds by metric; models beyond one, or without the metric, are left out.
        at_least: Lower bounds by metric.

    Returns:
        The rows on the front by values with the columns of `front` except those two that say so, and of each objective
        `<metric>_base` (the base model's value) and `<metric>_change` (value - base value); for accuracy also
        `accuracy_change_low` and `accuracy_change_high` (paired bootstrap over the instances); where the store has it,
        `speedup`, `speedup_low` and `speedup_high` (against the base in the same run, so that a busy machine cancels).

    Raises:
        NotComparableError: As `front` does.
    """
    best = best_of(judged(views, objectives, study=study, at_most=at_most, at_least=at_least))
    wanted = ["model_id", "name", *columns(best.signs), *columns((SPEEDUP,))]
    found = best.table.select([name for name in dict.fromkeys(wanted) if name in best.table.column_names])
    roots = best.table["root"].to_pylist()
    bases = of_ids(models(views), roots)
    for metric in best.signs:
        base, value = (np.asarray(table[metric].to_pylist(), float) for table in (bases, found))
        found = found.append_column(f"{metric}_base", pa.array(base, from_pandas=True))
        found = found.append_column(f"{metric}_change", pa.array(value - base, from_pandas=True))
    if "accuracy" not in best.signs:
        return found
    for end, values in zip(("low", "high"), accuracy_changes(views, best.ids, roots), strict=True):
        found = found.append_column(f"accuracy_change_{end}", pa.array(values, pa.float64()))
    return found


def on_front(found: Judged) -> Flags:
    """Which models no other one dominates by values."""
    return _of_complete(found, lambda complete: not_dominated(complete.values))


def best_of(found: Judged) -> Judged:
    """The models on the front by values, sorted by the first objective."""
    chosen = found.of(on_front(found))
    return chosen.of(chosen.best_first())


def accuracy_changes(
    views: Views, ids: Sequence[str], bases: Sequence[str]
) -> tuple[list[float | None], list[float | None]]:
    """Ends of the paired interval of each model's accuracy less its base's; None where answers are missing."""
    counts: dict[tuple[str, str], Row] = {}
    for base in dict.fromkeys(bases):
        own = [model_id for model_id, its in zip(ids, bases, strict=True) if its == base]
        text = f"SELECT model_id, lost, gained, n FROM behaviours WHERE base_id = ? AND model_id IN {marks(own)}"
        counts |= {(row["model_id"], base): row for row in rows(views, text, [base, *own])}
    lost, gained, n = (np.array([row[name] for row in counts.values()], np.int64) for name in _COUNTS)
    ends = dict(zip(counts, zip(*paired_bootstrap(lost, gained, n), strict=True), strict=True))
    low, high = (
        [ends[pair][place] if pair in ends else None for pair in zip(ids, bases, strict=True)] for place in (0, 1)
    )
    return low, high


def _group(found: Judged, name: str, places: NDArray[np.int64], overall: Flags) -> pa.Table:
    members = found.of(places)
    own = on_front(members)
    best = members.of(own)
    table = best.shown.add_column(0, "group", pa.array([name] * best.table.num_rows, pa.string()))
    table = table.append_column("on_overall_front", pa.array(overall[places][own]))
    return table.take(pa.array(best.best_first()))


def _on_front_by_intervals(found: Judged) -> Flags:
    return _of_complete(found, lambda complete: not_dominated_beyond_noise(complete.low, complete.high))


def _of_complete(found: Judged, which: Callable[[Judged], Flags]) -> Flags:
    """Ask only about models that have all objectives; the others are not meant."""
    flags = found.complete.copy()
    flags[flags] = which(found.of(flags))
    return flags
