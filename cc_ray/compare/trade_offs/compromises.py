"""Choosing from a front: a few models that span it, the knee, the best within a budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cc_ray.compare.trade_offs.dominance import Floats
from cc_ray.compare.trade_offs.fronts import accuracy_changes, best_of
from cc_ray.compare.trade_offs.objectives import Bounds, Judged, Objectives, judged
from cc_ray.errors import NotComparableError
from cc_ray.views import Views


def spanning(
    views: Views,
    objectives: Objectives,
    count: int = 5,
    *,
    study: str | None = None,
    ids: Iterable[str] | None = None,
    at_most: Bounds | None = None,
    at_least: Bounds | None = None,
) -> pa.Table:
    """A few models that span the front by values: a short list that shows what there is to choose from.

    Each objective is scaled to [0, 1] over the front. The best of each objective come first, as far as `count` goes;
    then always the model that is farthest from all that are chosen. Its distance is at most twice that of the best
    possible choice (Gonzalez, 1985, "Clustering to minimize the maximum intercluster distance").

    Args:
        views: The store.
        objectives: As `front` takes and judges them.
        count: How many, at least 1; all of the front if it has fewer.
        study: Only models that this study's trials made or passed.
        ids: Models to choose from; without it all of them.
        at_most: Upper bounds by metric, as `front` takes them.
        at_least: Lower bounds by metric.

    Returns:
        The columns of `front` up to the objectives; place (from 1, in the order of choice), distance (to the nearest
        that was chosen before, in scaled objectives; null for the first). Sorted by the first objective.

    Raises:
        NotComparableError: As `front` does, or if `count` is below 1.
        ModelNotFoundError: If the store has no model of one of the ids.
    """
    if count < 1:
        raise NotComparableError(f"{count} models cannot span a front: ask for one at least.")
    front = best_of(judged(views, objectives, study=study, ids=ids, at_most=at_most, at_least=at_least))
    places, distances = _farthest_first(_scaled(front.values), count)
    table = front.shown.take(pa.array(places, pa.int64()))
    table = table.append_column("place", pa.array(range(1, len(places) + 1), pa.int64()))
    table = table.append_column("distance", pa.array(distances, pa.float64()))
    return table.take(pa.array(np.argsort(places), pa.int64()))


def knee(
    views: Views,
    objectives: Objectives,
    *,
    study: str | None = None,
    at_most: Bounds | None = None,
    at_least: Bounds | None = None,
) -> pa.Table:
    """The front by values with its knee: the model from which a little more of one objective costs much of another.

    Each objective is scaled to [0, 1] over the front, and a plane is laid through its extremes, the best model of each
    objective. The knee is the model farthest from it on the better side. Where the extremes do not determine a plane,
    it is the one that weighs all objectives alike.

    Source: Das, 1999, "On characterizing the 'knee' of the Pareto curve based on Normal-Boundary Intersection".

    Args:
        views: The store.
        objectives: As `front` takes and judges them.
        study: Only models that this study's trials made or passed.
        at_most: Upper bounds by metric, as `front` takes them.
        at_least: Lower bounds by metric.

    Returns:
        The columns of `front` up to the objectives; distance (from the plane in scaled objectives; negative on the
        worse side), knee (true for one model at most: a front that lies on the plane or behind it has none). Farthest
        first.

    Raises:
        NotComparableError: As `front` does.
    """
    front = best_of(judged(views, objectives, study=study, at_most=at_most, at_least=at_least))
    distances = _from_plane(_scaled(front.values))
    order = np.argsort(-distances, kind="stable")
    # Rounding alone is no knee.
    bent = (np.arange(len(order)) == 0) & (distances[order] > 1e-9)
    table = front.shown.take(pa.array(order, pa.int64()))
    table = table.append_column("distance", pa.array(distances[order], pa.float64()))
    return table.append_column("knee", pa.array(bent, pa.bool_()))


def best_under(
    views: Views,
    metric: str,
    at_most: Bounds | None = None,
    at_least: Bounds | None = None,
    *,
    limit: int = 5,
    study: str | None = None,
) -> pa.Table:
    """The best models within a budget, and whether the best is better than the others at all.

    Args:
        views: The store.
        metric: What counts, judged by its definition's direction as `front` judges it.
        at_most: Upper bounds by metric, as `front` takes them.
        at_least: Lower bounds by metric.
        limit: How many models at most, the best included.
        study: Only models that this study's trials made or passed.

    Returns:
        Columns: rank (from 1), model_id, name, `<metric>`, `<metric>_low`, `<metric>_high`, of each bound its metric,
        difference (value - the best's), difference_low, difference_high (of accuracy: paired bootstrap over the
        instances; null where answers are missing), within_noise (the paired interval holds 0; else the two intervals
        overlap or the values are equal). Best first; of equals the smallest model_id.

    Raises:
        NotComparableError: As `front` does.
    """
    found = judged(views, [metric], study=study, at_most=at_most, at_least=at_least)
    complete = found.of(found.complete)
    best = complete.of(complete.best_first()[: max(0, limit)])
    bounds = [name for name in dict.fromkeys([*(at_most or {}), *(at_least or {})]) if name != metric]
    table = pa.table({"rank": pa.array(range(1, len(best.ids) + 1), pa.int64())})
    for name in [*best.shown.column_names, *bounds]:
        table = table.append_column(name, best.table[name])
    measured = np.asarray(table[metric].to_pylist(), float)
    low, high = _paired(views, best, metric)
    table = table.append_column("difference", pa.array(measured - measured[:1], pa.float64()))
    table = table.append_column("difference_low", pa.array(low, pa.float64()))
    table = table.append_column("difference_high", pa.array(high, pa.float64()))
    return table.append_column("within_noise", pa.array(_within_noise(best, low, high), pa.bool_()))


def _paired(views: Views, best: Judged, metric: str) -> tuple[list[float | None], list[float | None]]:
    if metric != "accuracy" or not best.ids:
        return [None] * len(best.ids), [None] * len(best.ids)
    return accuracy_changes(views, best.ids, [best.ids[0]] * len(best.ids))


def _within_noise(best: Judged, low: Sequence[float | None], high: Sequence[float | None]) -> list[bool]:
    overlap = (best.low[:, 0] <= best.high[:1, 0]).tolist()
    return [
        apart if bottom is None or top is None else bottom <= 0 <= top
        for apart, bottom, top in zip(overlap, low, high, strict=True)
    ]


def _scaled(values: Floats) -> Floats:
    """Each objective from 0, the best of the front, to 1, the worst; 0 where all are equal."""
    if not len(values):
        return values
    span = values.max(axis=0) - values.min(axis=0)
    scaled: Floats = (values - values.min(axis=0)) / np.where(span > 0, span, 1)
    return scaled


def _extremes(scaled: Floats) -> NDArray[np.int64]:
    """The best model of each objective; of several the one that is better on the whole."""
    whole = scaled.sum(axis=1)
    return np.array([np.lexsort((whole, values))[0] for values in scaled.T], np.int64)


def _farthest_first(scaled: Floats, count: int) -> tuple[list[int], list[float | None]]:
    if not len(scaled):
        return [], []
    ends = list(dict.fromkeys(_extremes(scaled).tolist()))
    chosen: list[int] = []
    distances: list[float | None] = []
    nearest = np.full(len(scaled), np.inf)
    while len(chosen) < min(count, len(scaled)):
        place = ends[len(chosen)] if len(chosen) < len(ends) else int(np.argmax(nearest))
        distances.append(float(nearest[place]) if chosen else None)
        chosen.append(place)
        nearest = np.minimum(nearest, np.linalg.norm(scaled - scaled[place], axis=1))
        nearest[chosen] = -1.0
    return chosen, distances


def _from_plane(scaled: Floats) -> Floats:
    """Distance of each model from the plane through the extremes, positive towards the best of all objectives."""
    if not len(scaled):
        return np.zeros(0)
    ends = scaled[_extremes(scaled)]
    weights: Floats = np.ones(scaled.shape[1])
    level = float(ends.sum(axis=1).mean())
    if np.linalg.matrix_rank(ends) == len(ends):
        through = np.linalg.solve(ends, np.ones(len(ends)))
        if (through > 0).all():
            weights, level = np.asarray(through, float), 1.0
    distances: Floats = (level - scaled @ weights) / np.linalg.norm(weights)
    return distances
