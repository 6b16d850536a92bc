"""What chance alone does: repeats of a recipe with other seeds, against which a difference has to be seen."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import scipy

from cc_ray.compare.asking import AMONG, Row, column, comparable, known, rows
from cc_ray.compare.behaviour.aligned import aligned
from cc_ray.compare.statistics.intervals import LEVEL
from cc_ray.compare.statistics.significance import difference_interval, welch
from cc_ray.errors import NotComparableError
from cc_ray.recipe import canonical_json
from cc_ray.views import Views

POWER: Final = 0.8
"""Chance of finding a difference of the minimal detectable size."""

_FLOOR: Final = pa.schema(
    {
        "task_id": pa.string(),
        "name": pa.string(),
        "models": pa.list_(pa.string()),
        "seeds": pa.list_(pa.int64()),
        "repeats": pa.int64(),
        "mean": pa.float64(),
        "mean_low": pa.float64(),
        "mean_high": pa.float64(),
        "std": pa.float64(),
        "std_low": pa.float64(),
        "std_high": pa.float64(),
        "pooled_std": pa.float64(),
        "pooled_freedom": pa.int64(),
        "minimal_difference": pa.float64(),
    }
)
_WARNINGS: Final = pa.schema(
    {
        "model_id": pa.string(),
        "name": pa.string(),
        "difference": pa.float64(),
        "sampling_low": pa.float64(),
        "sampling_high": pa.float64(),
        "seeds": pa.int64(),
        "base_seeds": pa.int64(),
        "seed_std": pa.float64(),
        "seed_freedom": pa.int64(),
        "seed_difference": pa.float64(),
        "mean_difference": pa.float64(),
        "seed_p": pa.float64(),
        "warning": pa.string(),
    }
)


@dataclass(frozen=True)
class _Spread:
    """Standard deviation over seeds, pooled over recipes."""

    std: float | None
    freedom: int

    @classmethod
    def of(cls, groups: Iterable[Sequence[float]]) -> _Spread:
        repeated = [values for values in groups if len(values) > 1]
        freedom = sum(len(values) - 1 for values in repeated)
        squares = sum(float(np.var(values, ddof=1)) * (len(values) - 1) for values in repeated)
        return cls(float(np.sqrt(squares / freedom)) if freedom else None, freedom)

    def difference(self, power: float | None = None) -> float | None:
        """Between two models of one seed each: what is significant, or with a power what will be found so."""
        if self.std is None:
            return None
        quantile = scipy.special.stdtrit(self.freedom, (1 + LEVEL) / 2)
        found = 0.0 if power is None else scipy.special.stdtrit(self.freedom, power)
        return float((quantile + found) * self.std * np.sqrt(2))


def noise_floor(views: Views, metric: str = "accuracy", ids: Iterable[str] | None = None) -> pa.Table:
    """How much a metric differs between models of one recipe that differ in nothing but the seed.

    Columns: task_id, name (the recipe), models (list of model_id), seeds (list), repeats (number of seeds), mean,
    mean_low, mean_high (t interval), std (over seeds, with n - 1), std_low, std_high (chi-square interval), pooled_std
    (over all recipes of the task with repeats, as if they shared one), pooled_freedom (its degrees of freedom),
    minimal_difference (between two models of one seed each, found significant at 5 % with a chance of `POWER`; from
    pooled_std). In the metric's unit; null where one seed, or none of the task's recipes with two, cannot tell. Most
    repeats first.

    Args:
        views: The store.
        metric: Name of the metric; its value over all instances counts.
        ids: Models; without it all of them. Only those named count as repeats.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If no model has this metric.

    Source: Bouthillier et al., 2021, "Accounting for Variance in Machine Learning Benchmarks"; Cohen, 1988,
    "Statistical Power Analysis for the Behavioral Sciences" (minimal detectable difference).
    """
    wanted = known(views, ids) if ids is not None else column(views, "SELECT model_id FROM models")
    recipes = _recipes(_measured(views, metric, wanted))
    spreads = {
        task_id: _Spread.of(_values(found) for key, found in recipes.items() if key[0] == task_id)
        for task_id in {key[0] for key in recipes}
    }
    found = [_floor_row(repeats, spreads[task_id]) for (task_id, _), repeats in recipes.items()]
    found.sort(key=lambda row: (-row["repeats"], row["task_id"], row["name"]))
    return pa.Table.from_pylist(found, _FLOOR)


def one_seed_warning(views: Views, ids: Iterable[str], base: str, metric: str = "accuracy") -> pa.Table:
    """Where a difference between a model and a base is no more than chance, or where that cannot be told.

    Columns: model_id, name, difference (model - base), sampling_low, sampling_high (95 % interval of the difference
    over samples of instances: paired bootstrap for accuracy with predictions, else from both metrics' intervals as if
    they were independent; null without either), seeds, base_seeds (number of seeds that the recipe was run with),
    seed_std (over seeds: of the two recipes, or of the task's other recipes where neither has repeats), seed_freedom
    (its degrees of freedom), seed_difference (the largest difference that seeds alone explain, between two models of
    one seed each, at 95 %), mean_difference (between the means over seeds), seed_p (Welch's t test of it; null unless
    both have two seeds), warning (null where there is none). A row per model in the order of the ids.

    Args:
        views: The store.
        ids: Models; the base is left out.
        base: Model that they are compared with.
        metric: Name of the metric; its value over all instances counts.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If there are none, they are of several tasks, or one does not have this metric.
    """
    wanted = comparable(views, [model_id for model_id in known(views, ids) if model_id != base], base)
    measured = _measured(views, metric, _of_task(views, base))
    by_id = {row["model_id"]: row for row in measured}
    for model_id in (base, *wanted):
        if model_id not in by_id:
            raise NotComparableError(f"{model_id} has no {metric}: leave it out, or choose another metric.")
    recipes = _recipes(measured)
    pooled = _Spread.of(_values(found) for found in recipes.values())
    sampling = _sampling(views, [by_id[model_id] for model_id in wanted], by_id[base], metric)
    found = [
        _warning_row(by_id[model_id], by_id[base], recipes, pooled, interval)
        for model_id, interval in zip(wanted, sampling, strict=True)
    ]
    return pa.Table.from_pylist(found, _WARNINGS)


Interval = tuple[float | None, float | None]
_Recipes = Mapping[tuple[str, str], list[Row]]


def _of_task(views: Views, model: str) -> list[str]:
    text = "SELECT model_id FROM models WHERE task_id = (SELECT task_id FROM models WHERE model_id = ?)"
    return column(views, text, [model])


def _measured(views: Views, metric: str, ids: Sequence[str]) -> list[Row]:
    """A row per model that has the metric, over all instances and on the first of its devices."""
    text = f"""
        SELECT model_id, name, task_id, recipe, seed, value, ci_low, ci_high
        FROM metrics
        JOIN models USING (model_id)
        WHERE metric = ? AND slice = 'all' AND model_id {AMONG} AND isfinite(value)
        QUALIFY row_number() OVER (PARTITION BY model_id ORDER BY split, metrics.device) = 1
        ORDER BY seed, model_id
    """
    found = rows(views, text, [metric, list(ids)])
    if not found:
        there = ", ".join(column(views, "SELECT DISTINCT metric FROM metrics ORDER BY metric")) or "none"
        raise NotComparableError(f"none of the models has the metric '{metric}'. Metrics of this store: {there}.")
    return found


def _recipes(measured: Iterable[Row]) -> _Recipes:
    """The models of each recipe, one a seed."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in measured:
        repeats = found[_recipe(row)]
        if all(row["seed"] != other["seed"] for other in repeats):
            repeats.append(row)
    return found


def _recipe(row: Row) -> tuple[str, str]:
    """Task and recipe, but for the seed."""
    steps = {name: value for name, value in json.loads(row["recipe"]).items() if name != "seed"}
    return row["task_id"], canonical_json(steps)


def _values(repeats: Iterable[Row]) -> list[float]:
    return [row["value"] for row in repeats]


def _floor_row(repeats: Sequence[Row], pooled: _Spread) -> Row:
    values = _values(repeats)
    own = _Spread.of([values])
    mean = float(np.mean(values))
    row: Row = {"task_id": repeats[0]["task_id"], "name": repeats[0]["name"], "repeats": len(values), "mean": mean}
    row |= {"models": [one["model_id"] for one in repeats], "seeds": [one["seed"] for one in repeats]}
    row |= {"pooled_std": pooled.std, "pooled_freedom": pooled.freedom, "minimal_difference": pooled.difference(POWER)}
    if own.std is None:
        return row
    half = float(scipy.special.stdtrit(own.freedom, (1 + LEVEL) / 2)) * own.std / np.sqrt(len(values))
    ends = scipy.special.chdtri(own.freedom, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = own.std * np.sqrt(own.freedom / ends)
    return row | {"mean_low": mean - half, "mean_high": mean + half, "std": own.std, "std_low": low, "std_high": high}


def _sampling(views: Views, models: Sequence[Row], base: Row, metric: str) -> list[Interval]:
    ids = [row["model_id"] for row in models]
    text = f"SELECT count(DISTINCT model_id) FROM predictions WHERE label IS NOT NULL AND model_id {AMONG}"
    if metric == "accuracy" and column(views, text, [[*ids, base["model_id"]]])[0] == len(ids) + 1:
        found = aligned(views, ids, base["model_id"])
        n, lost, gained = (flags[1:].sum(axis=1) for flags in (found.answered, found.lost, found.gained))
        low, high = difference_interval(lost, gained, n)
        return list(zip(low.tolist(), high.tolist(), strict=True))
    return [_independent(row, base) for row in models]


def _independent(row: Row, base: Row) -> Interval:
    """Interval of a difference from both values' intervals, each side's distances added as squares.

    Source: Newcombe, 1998, "Interval estimation for the difference between independent proportions" (MOVER).
    """
    ends = (row["ci_low"], row["ci_high"], base["ci_low"], base["ci_high"])
    if any(end is None for end in ends):
        return None, None
    low, high, base_low, base_high = ends
    difference = row["value"] - base["value"]
    down = np.hypot(row["value"] - low, base_high - base["value"])
    up = np.hypot(high - row["value"], base["value"] - base_low)
    return float(difference - down), float(difference + up)


def _warning_row(row: Row, base: Row, recipes: _Recipes, pooled: _Spread, interval: Interval) -> Row:
    values, base_values = (_values(recipes[_recipe(one)]) for one in (row, base))
    own = _Spread.of([values, base_values])
    spread = pooled if own.std is None else own
    found = {
        "model_id": row["model_id"],
        "name": row["name"],
        "difference": row["value"] - base["value"],
        "sampling_low": interval[0],
        "sampling_high": interval[1],
        "seeds": len(values),
        "base_seeds": len(base_values),
        "seed_std": spread.std,
        "seed_freedom": spread.freedom,
        "seed_difference": spread.difference(),
        "mean_difference": float(np.mean(values) - np.mean(base_values)),
        "seed_p": None if np.isnan(p := welch(values, base_values)) else p,
    }
    return found | {"warning": " ".join(_warnings(found)) or None}


def _warnings(row: Mapping[str, Any]) -> list[str]:
    said = []
    if row["sampling_low"] is not None and row["sampling_low"] <= 0 <= row["sampling_high"]:
        said.append("Another sample of instances alone explains this difference.")
    if row["seed_difference"] is None:
        return [*said, "One seed each: noise cannot be told from damage. Run the recipes with other seeds."]
    if _by_seeds(row):
        said.append("Other seeds alone explain this difference.")
    if min(row["seeds"], row["base_seeds"]) < 2:
        said.append("One seed of the model or the base: it is taken to vary as much as what was repeated.")
    return said


def _by_seeds(row: Mapping[str, Any]) -> bool:
    if row["seed_p"] is not None:
        return bool(row["seed_p"] >= 1 - LEVEL)
    return bool(abs(row["difference"]) <= row["seed_difference"])
