"""A simple chart of an answer: any column across, a number upwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from dashboards.axes import tick_formatter
from dashboards.drawing import hv
from dashboards.snapshot import Metric
from dashboards.state import short
from dashboards.theme import SERIES

KINDS: Final = {"bars": "Bars", "line": "Line", "points": "Points"}
MOST_BARS: Final = 40
MOST_POINTS: Final = 5000
LONGEST_LABEL: Final = 28
"""Characters of a name below a bar."""


@dataclass(frozen=True)
class Axes:
    """What a chart shows."""

    x: str = ""
    y: str = ""
    kind: str = "bars"

    def fitting(self, table: pa.Table) -> Axes:
        """The same for another answer; what it does not have is chosen anew."""
        across, upwards = choices(table)
        if not upwards:
            return Axes(kind=self.kind)
        y = self.y if self.y in upwards else ""
        taken = y or (upwards[0] if len(upwards) == 1 else "")
        x = self.x if self.x in across else next((name for name in across if name != taken), upwards[0])
        y = y or next((name for name in upwards if name != x), x)
        kept = (x, y) == (self.x, self.y)
        numbers = x in upwards
        return replace(self, x=x, y=y, kind=self.kind if kept else "points" if numbers else "bars")


def choices(table: pa.Table) -> tuple[list[str], list[str]]:
    """Columns that can go across, and those that can go upwards: numbers."""
    names = [field.name for field in table.schema if table.column_names.count(field.name) == 1]
    fields = {name: table.schema.field(name).type for name in names}
    upwards = [name for name, type in fields.items() if is_number(type)]
    across = [name for name, type in fields.items() if not pa.types.is_nested(type) and not pa.types.is_binary(type)]
    return across, upwards


def chart(table: pa.Table, axes: Axes, metrics: dict[str, Metric]) -> hv.Element:
    """The chart.

    Args:
        table: An answer; its first rows count: `MOST_BARS` of bars, else `MOST_POINTS`.
        axes: Columns of it.
        metrics: What metrics mean: columns of their names have their units.
    """
    rows = table.slice(0, MOST_BARS if axes.kind == "bars" else MOST_POINTS)
    x_number = is_number(table.schema.field(axes.x).type) and axes.kind != "bars"
    data = pd.DataFrame({"x": rows[axes.x].to_pylist(), "y": [_float(value) for value in rows[axes.y].to_pylist()]})
    data["x"] = (
        [_float(value) for value in data["x"]] if x_number else _apart([_name(axes.x, value) for value in data["x"]])
    )
    data["x"] = data["x"].astype(float if x_number else object)
    make = {"bars": hv.Bars, "line": hv.Curve, "points": hv.Scatter}[axes.kind]
    drawn = make(data.dropna(subset=["y"]), "x", "y").opts(
        xlabel=_label(axes.x, metrics), ylabel=_label(axes.y, metrics), responsive=True, show_grid=True, tools=["hover"]
    )
    formats = (_format(axes.x, metrics) if x_number else None, _format(axes.y, metrics))
    return drawn.opts(color=SERIES[0], **_look(axes.kind, x_number), hooks=[lambda plot, _: _axes(plot, *formats)])


def note(table: pa.Table, axes: Axes) -> str:
    """What the chart leaves out; empty if nothing."""
    most = MOST_BARS if axes.kind == "bars" else MOST_POINTS
    return f"the first {most:,} of {table.num_rows:,} rows" if table.num_rows > most else ""


def _look(kind: str, x_number: bool) -> dict[str, Any]:
    slanted = {} if x_number else {"xrotation": 40}
    own: dict[str, dict[str, Any]] = {
        "bars": {"line_color": None, "bar_width": 0.7, "padding": (0, 0.05)},
        "line": {"line_width": 2},
        "points": {"size": 6, "alpha": 0.7},
    }
    return slanted | own[kind]


def _axes(plot: Any, x: str | None, y: str) -> None:
    if x is not None:
        plot.state.xaxis.formatter = tick_formatter(x)
    plot.state.yaxis.formatter = tick_formatter(y)


def _label(name: str, metrics: dict[str, Metric]) -> str:
    return metrics[name].label if name in metrics else name


def _format(name: str, metrics: dict[str, Metric]) -> str:
    return metrics[name].format if name in metrics else "number"


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _name(column: str, value: Any) -> str:
    text = short(value) if column == "model_id" and value else str(value)
    return text if len(text) <= LONGEST_LABEL else f"…{text[1 - LONGEST_LABEL :]}"


def _apart(names: list[str]) -> list[str]:
    """Names that occur again get a number: each row is a mark of its own."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def is_number(type: pa.DataType) -> bool:
    """Whether a column holds numbers."""
    return bool(pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_decimal(type))
