"""Which of a task's metrics says how good a model is, how large and how slow: stores name them in their own ways."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cc_ray.compare.asking import Row

NOT_A_COST: Final = frozenset({"loss", "perplexity", "error", "std"})
"""Words of metrics whose lower values are better, or steadier, but which nobody pays with."""


@dataclass(frozen=True)
class Roles:
    """Columns of `model_metrics`; None where a task has no such metric."""

    quality: str | None
    """A share, of which more is better: accuracy where it is there."""
    size: str | None
    latency: str | None
    spread: str | None
    """Standard deviation of the latency's repeats."""
    speedup: str | None
    sparsity: str | None
    costs: tuple[str, ...]
    """What is paid: primary metrics of which less is better."""
    parts: dict[str, str]
    """Metrics that are the quality of a part of the instances, by the part's name: `top_1_bird_accuracy` is the
    part `bird` of `top_1_accuracy`."""


def roles(definitions: Iterable[Row], present: Iterable[str]) -> Roles:
    """Find them by name, unit and direction.

    Args:
        definitions: Rows of `metric_definitions`.
        present: Metrics that the task's models have.
    """
    having = set(present)
    known = [row for row in definitions if row["metric"] in having]
    known.sort(key=lambda row: (not row["primary"], row["metric"]))
    lower = [row for row in known if row["direction"] == "lower" and not words(row) & NOT_A_COST]
    shares = [row for row in known if row["direction"] == "higher" and row["format"] == "percent"]
    quality = _first(shares, lambda row: row["metric"] == "accuracy") or _first(shares)
    latency = _first(lower, lambda row: row["metric"] == "latency_p50_ms" or "latency" in words(row))
    return Roles(
        quality=quality,
        size=_first(lower, lambda row: row["metric"] == "size_bytes")
        or _first(lower, lambda row: "size" in words(row)),
        latency="latency_p50_ms" if "latency_p50_ms" in having else latency,
        spread=_first(known, lambda row: {"latency", "std"} <= words(row)),
        speedup=_first(known, lambda row: row["metric"] == "speedup"),
        sparsity=_first(known, lambda row: row["metric"] == "sparsity"),
        costs=tuple(row["metric"] for row in lower if row["primary"]),
        parts=_parts(quality, having),
    )


def words(row: Row) -> set[str]:
    """The words of a metric's name."""
    return set(str(row["metric"]).split("_"))


def _first(rows: Sequence[Row], wanted: Callable[[Row], bool] = bool) -> str | None:
    return next((row["metric"] for row in rows if wanted(row)), None)


def _parts(quality: str | None, present: Iterable[str]) -> dict[str, str]:
    own = (quality or "").split("_")
    found = {}
    for metric in sorted(present):
        pieces = metric.split("_")
        extra = len(pieces) - len(own)
        for at in range(1, len(own)):
            if extra > 0 and pieces[:at] + pieces[at + extra :] == own:
                found[" ".join(pieces[at : at + extra])] = metric
    return found
