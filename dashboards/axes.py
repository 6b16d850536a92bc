"""Axes that say what they measure, in the units of the metric."""

from __future__ import annotations

from typing import Final

from bokeh.models import BasicTicker, CustomJSTickFormatter, LogTicker, Ticker, TickFormatter

_SCALED: Final = """
const units = %s
let value = tick, power = 0
while (Math.abs(value) >= 999.5 && power < units.length - 1) { value /= 1000; power += 1 }
return `${+value.toPrecision(3)} ${units[power]}`.trim()
"""
_CODE: Final = {
    "percent": "return `${+(100 * tick).toPrecision(4)} %`",
    "bytes": _SCALED % '["B", "kB", "MB", "GB", "TB"]',
    "count": _SCALED % '["", "k", "M", "G", "T"]',
}
_PLAIN: Final = "return `${+tick.toPrecision(4)}`.replace('-', '\\u2212')"


def tick_code(kind: str) -> str:
    """JavaScript that writes `tick` in a metric's `format`: percent, bytes, count, ms, bits or number."""
    return _CODE.get(kind, _PLAIN)


def tick_formatter(kind: str) -> TickFormatter:
    """Tick labels for a metric's `format`."""
    return CustomJSTickFormatter(code=tick_code(kind))


def ticker(log: bool, count: int = 5) -> Ticker:
    """Where ticks stand."""
    return LogTicker(mantissas=[1, 2, 5], desired_num_ticks=count) if log else BasicTicker(desired_num_ticks=count)


def axis_title(label: str, kind: str) -> str:
    """What an axis measures; the unit where the ticks do not carry it."""
    unit = {"ms": "ms", "bits": "bits"}.get(kind, "")
    return f"{label} ({unit})" if unit else label
