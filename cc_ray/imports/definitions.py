"""What the metrics of other programs are in the store: names, units, directions, formats."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from cc_ray.imports.reading import Entry, ResultFile
from cc_ray.schema import MODELS

HIGHER: Final = frozenset({"accuracy", "acc", "f1", "auc", "recall", "bleu", "match"})
"""Words of metrics of which more is better."""
LOWER: Final = frozenset({"latency", "size", "loss", "error", "time", "perplexity"})
"""Words of metrics of which less is better; they outweigh the others: an accuracy loss is a loss."""
AMBIGUOUS: Final = frozenset({"f1"})
"""Names that others give to something else: CC-Ray's is of words, and most are of classes."""
BYTES: Final = frozenset({"B", "byte", "bytes"})
RESERVED: Final = frozenset({*(column.name for column in MODELS.columns), "parent", "root"})
"""Columns that stand beside metrics in lists of models."""
SAME: Final = ("unit", "direction", "min", "max", "format")
"""What two definitions must share to be one metric."""


@dataclass(frozen=True)
class Defined:
    """A metric of the file as the store has it."""

    row: Mapping[str, Any]
    """Row of `schema.METRIC_DEFINITIONS`; its label is the file's name for it."""
    scale: float
    """What the file's values are multiplied by."""

    @property
    def metric(self) -> str:
        """Name in the store."""
        return str(self.row["metric"])


def defined(results: ResultFile, taken: Iterable[Mapping[str, Any]]) -> dict[str, Defined]:
    """Definitions of all metrics of a file, by the file's name.

    Args:
        results: The file.
        taken: Definitions of the store's other tasks: a name that means something else there is not used again.
    """
    others: dict[str, list[Mapping[str, Any]]] = {}
    for row in taken:
        others.setdefault(row["metric"], []).append(row)
    found: dict[str, Defined] = {}
    used: set[str] = set()
    for name in results.used_metrics():
        made = _defined(name, results.metrics.get(name, {}))
        free = next(metric for metric in _names(made.metric, results.task) if _free(metric, made.row, others, used))
        used.add(free)
        found[name] = Defined({**made.row, "metric": free}, made.scale)
    return found


@dataclass(frozen=True)
class Definitions:
    """Names and definitions of metrics whose source says nothing but a name."""

    names: Mapping[str, str]
    """Name in the store by the source's name."""
    new: list[dict[str, Any]]
    """Rows of `schema.METRIC_DEFINITIONS` that the store does not have yet."""
    guessed: tuple[str, ...]
    """What was guessed, a sentence each."""


def chosen(
    values: Mapping[str, Sequence[float]],
    task: str,
    taken: Iterable[Mapping[str, Any]],
    directions: Mapping[str, str],
) -> Definitions:
    """Choose what metrics mean: as CC-Ray defines them where name and values fit, else guessed from their names.

    Args:
        values: All values by the source's name of the metric.
        task: Name of the task, for metrics whose name means something else in the store.
        taken: Definitions in the store.
        directions: Which values are better (higher, lower), where the source says so.
    """
    stored, registered = [dict(row) for row in taken], _registered()
    others: dict[str, list[Mapping[str, Any]]] = {}
    for row in [*registered.values(), *stored]:
        others.setdefault(row["metric"], []).append(row)
    names: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    said: list[str] = []
    # The usual names first: they keep their meaning.
    for name in sorted(values, key=lambda name: (name not in registered, name)):
        own, found = registered.get(name), values[name]
        if own is not None and _fits(own, found, directions.get(name)):
            row = own
        else:
            row = _guess(name, found, directions.get(name))
            used = set(names.values())
            row["metric"] = next(free for free in _names(row["metric"], task) if _free(free, row, others, used))
            said.append(_told(name, row, directions))
        names[name] = row["metric"]
        rows.append(row)
    return Definitions(names, [row for row in rows if row not in stored], tuple(said))


@cache
def _registered() -> dict[str, dict[str, Any]]:
    """Definitions of CC-Ray's own metrics by name."""
    # Imported here: it brings torch, which takes a second.
    from cc_ray.evaluate import metric_definitions

    return {row["metric"]: row for row in metric_definitions() if row["metric"] not in AMBIGUOUS}


def _fits(row: Mapping[str, Any], values: Sequence[float], direction: str | None) -> bool:
    low = -math.inf if row["min"] is None else row["min"]
    high = math.inf if row["max"] is None else row["max"]
    return direction in (None, row["direction"]) and all(low <= value <= high for value in values)


def _guess(name: str, values: Sequence[float], direction: str | None) -> dict[str, Any]:
    share = _direction(name) == "higher" and all(0 <= value <= 1 for value in values)
    row = dict(_defined(name, {"min": 0, "max": 1} if share else {}).row)
    row["direction"] = direction or row["direction"]
    return {**row, "meaning": f"imported: {name}", "primary": row["direction"] != "none"}


def _told(name: str, row: Mapping[str, Any], directions: Mapping[str, str]) -> str:
    sense = {"higher": "higher is better", "lower": "lower is better"}.get(row["direction"], "no direction is better")
    called = "" if row["metric"] == name else f", called {row['metric']} here"
    given = "as its source says" if name in directions else "guessed from its name; the store knows no such metric"
    return f"{name}: {sense} ({given}){called}."


def slug(text: str) -> str:
    """A name for columns: lower-case letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _defined(name: str, spec: Entry) -> Defined:
    unit, written = _said(spec, "unit"), _said(spec, "format")
    low, high = (_number(spec.get(end)) for end in ("min", "max"))
    direction = _direction(name)
    kind = _format(unit, written, (low, high), direction)
    hundredths = unit == "%" and not written.endswith("%") and not (high is not None and high <= 1)
    scale = 0.01 if hundredths else 1.0
    row = {
        "metric": _column(name, "" if kind == "percent" else unit),
        "label": name,
        "unit": "" if kind == "percent" else unit,
        "direction": direction,
        "min": None if low is None else low * scale,
        "max": None if high is None else high * scale,
        "primary": bool(spec.get("primary", False)),
        "format": kind,
        "meaning": _meaning(name, kind, hundredths, declared=bool(spec)),
    }
    return Defined(row, scale)


def _direction(name: str) -> str:
    words = set(slug(name).split("_"))
    return "lower" if words & LOWER else "higher" if words & HIGHER else "none"


def _format(unit: str, written: str, ends: tuple[float | None, float | None], direction: str) -> str:
    if unit == "%" or written.endswith("%") or (direction == "higher" and ends == (0, 1)):
        return "percent"
    if unit == "ms":
        return "ms"
    if unit in BYTES:
        return "bytes"
    return "count" if written.endswith(("s", "d")) else "number"


def _meaning(name: str, kind: str, hundredths: bool, *, declared: bool) -> str:
    notes = "a share in [0, 1]" if kind == "percent" else ""
    notes += ", a hundredth of the file's value, which is in percent" if hundredths else ""
    notes += "" if declared else "; " * bool(notes) + "not declared in its file"
    return f"imported: {name}" + (f" ({notes})" if notes else "")


def _column(name: str, unit: str) -> str:
    """A name that no other column of a list of models has, with its unit."""
    column, ending = slug(name) or "metric", slug(unit)
    if ending and not column.endswith(f"_{ending}"):
        column = f"{column}_{ending}"
    return f"metric_{column}" if column in RESERVED or column.endswith(("_low", "_high")) else column


def _names(column: str, task: str) -> Iterator[str]:
    """The name, with the task where it is taken, then with numbers."""
    own = f"{column}_{slug(task) or 'imported'}"
    yield from (column, own)
    number = 2
    while True:
        yield f"{own}_{number}"
        number += 1


def _free(
    metric: str, row: Mapping[str, Any], others: Mapping[str, list[Mapping[str, Any]]], used: Collection[str]
) -> bool:
    same = all(other[name] == row[name] for other in others.get(metric, ()) for name in SAME)
    return same and metric not in used


def _said(spec: Entry, key: str) -> str:
    value = spec.get(key)
    return value.strip() if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
