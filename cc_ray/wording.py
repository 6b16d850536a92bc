"""How numbers are written for people, the same in the terminal and on the screen."""

from __future__ import annotations

import math
from typing import Final

NOTHING: Final = "–"
"""Stands where there is no value."""

_BYTES: Final = ("B", "kB", "MB", "GB", "TB")
_COUNTS: Final = ("", "k", "M", "G", "T")


def format_value(value: float | None, kind: str) -> str:
    """Write a metric's value in a few characters, with its unit.

    Args:
        value: In the metric's own unit; shares are in [0, 1].
        kind: The metric definition's `format`: percent, bytes, count, ms, bits or number.
    """
    if value is None or math.isnan(value):
        return NOTHING
    if value < 0:
        return f"−{format_value(-value, kind)}"
    if kind == "percent":
        return f"{100 * value:.1f} %"
    if kind == "bytes":
        return _scaled(value, _BYTES)
    if kind == "count":
        return _scaled(value, _COUNTS).rstrip()
    if kind == "ms":
        return f"{value:.3g} ms" if abs(value) < 1000 else f"{value:,.0f} ms"
    if kind == "bits":
        return f"{value:.3g} bits"
    return f"{value:.3g}"


def label_with_unit(label: str, unit: str, kind: str) -> str:
    """What a metric is called, with its unit where `format_value` writes numbers of this kind without one."""
    return f"{label} ({unit})" if unit and kind in ("number", "count") else label


def format_change(value: float | None, kind: str) -> str:
    """Write the difference of two values with its sign; percentages differ in points."""
    if value is None or math.isnan(value):
        return NOTHING
    written = format_value(abs(value), kind)
    sign = "±" if is_nothing(written) else "+" if value > 0 else "−"
    return sign + (written.replace(" %", " points") if kind == "percent" else written)


def is_nothing(written: str) -> bool:
    """Whether a number is written as 0, and so has no direction, however little it differs from it."""
    return not any(digit in written for digit in "123456789")


def format_interval(low: float | None, high: float | None, kind: str) -> str:
    """Write an interval as `low to high`, or nothing where there is none."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    written = [format_value(end, kind) for end in (low, high)]
    units = {end.partition(" ")[2] for end in written}
    return f"{written[0].partition(' ')[0] if len(units) == 1 else written[0]} to {written[1]}"


def format_duration(seconds: float) -> str:
    """Write a time for people: 4.2 s, 2 min 05 s, 3 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    power = 0
    while abs(value) >= 999.5 and power < len(units) - 1:
        value /= 1000
        power += 1
    digits = 0 if power == 0 and value == int(value) else max(0, 2 - len(str(int(abs(value)))) + 1)
    return f"{value:.{digits}f} {units[power]}"


def realised(real: bool) -> str:
    """Whether a model runs in the form that it is saved in, on the device that it was timed on."""
    return "realised: it runs as it is saved" if real else "simulated: in part at least it runs as floats"
