"""What the metrics of a result file are in the store: names, units, directions, formats."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cc_ray.imports.reading import Entry, ResultFile
from cc_ray.schema import MODELS

HIGHER: Final = frozenset({"accuracy", "acc", "f1", "auc", "recall", "bleu"})
"""Words of metrics of which more is better."""
LOWER: Final = frozenset({"latency", "size", "loss", "error", "time", "perplexity"})
"""Words of metrics of which less is better; they outweigh the others: an accuracy loss is a loss."""
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
