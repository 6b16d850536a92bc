"""What compression saves: what it promises in theory, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import pyarrow as pa

from cc_ray.compare.asking import Row, column, comparable, known
from cc_ray.compare.models import models
from cc_ray.views import Views

SAVED: Final = ("size_bytes", "num_parameters", "num_nonzero_parameters", "effective_bits", "multiply_adds")
"""Exact costs: the fewer the better."""
TIMED: Final = ("latency_p50_ms", "latency_p90_ms", "latency_p99_ms")
"""Latencies, with intervals. A percentile that the repeats do not bound was never recorded, and is null."""
THEORY: Final = ("multiply_adds", "num_nonzero_parameters", "effective_bits")
"""What speed is hoped from."""
OTHERS: Final = frozenset({"throughput", "memory", "energy"})
"""Words of further metrics of efficiency, which some stores have."""
SPEEDUP: Final = "speedup"

Ratio = tuple[float, float, float]
"""A ratio with the ends of its 95 % interval."""


def efficiency(views: Views, ids: Iterable[str] | None = None, base: str | None = None) -> pa.Table:
    """What each model costs beside its base and its parent.

    "Times" are ratios of which more is better: base / model for costs, model / base for throughput.

    Columns: model_id, name, base_id, parent_id; of each exact cost (size_bytes, num_parameters,
    num_nonzero_parameters, effective_bits, multiply_adds) `<cost>`, `<cost>_times` (against the base) and
    `<cost>_parent_times`; latency_p50_ms, latency_p90_ms, latency_p99_ms with `_low` and `_high`;
    theoretical_speedup (the largest of the times of multiply_adds, num_nonzero_parameters and effective_bits: what any
    one of them promises); speedup, speedup_low, speedup_high (realised, against the base) and parent_speedup,
    parent_speedup_low, parent_speedup_high; speedup_source ("same run": timed beside its base model; "separate runs":
    from latencies, or from the speed-ups of two models); verdict and parent_verdict ("realised" where the whole
    interval is above 1, "within noise", "slower" where it is below; null without intervals); realised_share
    ((speedup - 1) / (theoretical_speedup - 1); null where theory promises less than 2 %); and of each further metric
    of throughput, memory or energy that the store has `<metric>` and `<metric>_times`. What was not recorded is null.

    Args:
        views: The store.
        ids: Models, in the order of the rows; without it all of them (with a base: of its task).
        base: What they are compared with; without it each one's own base model.

    Raises:
        ModelNotFoundError: If the store has no such model.
        NotComparableError: If a base is given and the models are of another task.
    """
    everything = {row["model_id"]: row for row in models(views).to_pylist()}
    further = _further(views)
    found = [_costs(everything, row, base, further) for row in _chosen(views, everything, ids, base)]
    return pa.Table.from_pylist(found, _schema(further))


def _chosen(views: Views, everything: Mapping[str, Row], ids: Iterable[str] | None, base: str | None) -> list[Row]:
    if base is None:
        wanted = list(everything) if ids is None else known(views, ids)
    else:
        (own,) = known(views, [base])
        alike = [id for id, row in everything.items() if row["task_id"] == everything[own]["task_id"]]
        wanted = alike if ids is None else comparable(views, ids, own)
    return [everything[model_id] for model_id in wanted]


def _further(views: Views) -> dict[str, str]:
    """Direction of each metric of efficiency beside the usual ones."""
    text = "SELECT DISTINCT metric FROM metrics WHERE slice = 'all' ORDER BY metric"
    names = [name for name in column(views, text) if OTHERS & set(name.split("_"))]
    found = views.sql("SELECT metric, direction FROM metric_definitions").to_pylist()
    directions = {row["metric"]: row["direction"] for row in found}
    return {name: directions.get(name, "none") for name in names}


def _costs(everything: Mapping[str, Row], row: Row, base: str | None, further: Mapping[str, str]) -> Row:
    other = everything.get(base or row["root"], {})
    parent = everything.get(row["parent"], {})
    found: Row = {
        "model_id": row["model_id"],
        "name": row["name"],
        "base_id": other.get("model_id"),
        "parent_id": parent.get("model_id"),
    }
    for cost in SAVED:
        found |= {cost: row.get(cost), f"{cost}_times": _times(other, row, cost)}
        found[f"{cost}_parent_times"] = _times(parent, row, cost)
    for timed in TIMED:
        found |= {name: row.get(name) for name in (timed, f"{timed}_low", f"{timed}_high")}
    for metric, direction in further.items():
        pair = (row, other) if direction == "higher" else (other, row)
        found |= {metric: row.get(metric), f"{metric}_times": _times(*pair, metric)}
    found["theoretical_speedup"] = max((v for v in (found[f"{c}_times"] for c in THEORY) if v), default=None)
    return found | _realised(row, other, found["theoretical_speedup"]) | _beside_parent(row, parent)


def _times(dividend: Row, divisor: Row, metric: str) -> float | None:
    above, below = dividend.get(metric), divisor.get(metric)
    if above is None or not below or not (math.isfinite(above) and math.isfinite(below)):
        return None
    return float(above / below)


def _realised(row: Row, base: Row, theory: float | None) -> Row:
    ratio, source = speedup(row, base)
    promised = theory is not None and theory > 1.02 and ratio is not None
    return {
        **_ends("speedup", ratio),
        "speedup_source": source,
        "verdict": _verdict(ratio),
        "realised_share": (ratio[0] - 1) / (theory - 1) if promised and ratio and theory else None,
    }


def _beside_parent(row: Row, parent: Row) -> Row:
    ratio, _ = speedup(row, parent)
    return {**_ends("parent_speedup", ratio), "parent_verdict": _verdict(ratio)}


def speedup(row: Row, other: Row) -> tuple[Ratio | None, str | None]:
    """How many times as fast a model is as another, and where that is from.

    Against the base model that it was timed beside it is the recorded speed-up. Against another model of that base it
    is the ratio of both speed-ups, so that the machine's mood cancels; without speed-ups, of the median latencies.

    Args:
        row: Row of `compare.models`.
        other: Another one; empty where there is none.
    """
    if not other:
        return None, None
    own, its = (_interval(model, SPEEDUP) for model in (row, other))
    if own and other["model_id"] == row["root"]:
        return own, "same run"
    if own and its and row["root"] == other["root"]:
        return _ratio(own, its), "separate runs"
    own, its = (_interval(model, TIMED[0]) for model in (row, other))
    return (_ratio(its, own), "separate runs") if own and its else (None, None)


def _interval(row: Row, metric: str) -> Ratio | None:
    value, low, high = (row.get(name) for name in (metric, f"{metric}_low", f"{metric}_high"))
    if not value or not low or not high or not all(0 < end < math.inf for end in (value, low, high)):
        return None
    return value, low, high


def _ratio(above: Ratio, below: Ratio) -> Ratio:
    """Ratio of two independent estimates; their logarithms' distances to each end add up in squares."""
    value = above[0] / below[0]
    down = math.hypot(math.log(above[0] / above[1]), math.log(below[2] / below[0]))
    up = math.hypot(math.log(above[2] / above[0]), math.log(below[0] / below[1]))
    return value, value * math.exp(-down), value * math.exp(up)


def _verdict(ratio: Ratio | None) -> str | None:
    if ratio is None:
        return None
    return "realised" if ratio[1] > 1 else "slower" if ratio[2] < 1 else "within noise"


def _ends(name: str, ratio: Ratio | None) -> Row:
    return dict(zip((name, f"{name}_low", f"{name}_high"), ratio or (None, None, None), strict=True))


def _schema(further: Iterable[str]) -> pa.Schema:
    texts = {"model_id", "name", "base_id", "parent_id", "speedup_source", "verdict", "parent_verdict"}
    return pa.schema({name: pa.string() if name in texts else pa.float64() for name in _columns(further)})


def _columns(further: Iterable[str]) -> Iterator[str]:
    yield from ("model_id", "name", "base_id", "parent_id")
    for cost in SAVED:
        yield from (cost, f"{cost}_times", f"{cost}_parent_times")
    for timed in TIMED:
        yield from (timed, f"{timed}_low", f"{timed}_high")
    yield from ("theoretical_speedup", "speedup", "speedup_low", "speedup_high")
    yield from ("parent_speedup", "parent_speedup_low", "parent_speedup_high", "speedup_source")
    yield from ("verdict", "parent_verdict", "realised_share")
    for metric in further:
        yield from (metric, f"{metric}_times")
