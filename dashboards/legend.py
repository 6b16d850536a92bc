"""Legends of colour and size, as HTML beside the choice of their metric."""

from __future__ import annotations

from cc_ray.wording import format_value
from dashboards.markup import esc, ramp
from dashboards.scales import colour_scale, column
from dashboards.snapshot import Snapshot


def legend(snapshot: Snapshot, metric: str, kind: str) -> str:
    """What the ends of a scale mean.

    Args:
        snapshot: Of the store.
        metric: The metric shown; "" gives nothing.
        kind: "colour" or "size".
    """
    if not metric:
        return ""
    values = column(snapshot.table[metric].to_pylist())
    form = snapshot.metrics[metric].format
    scale = colour_scale(values)
    if kind == "colour":
        low = ("≤ " if scale.below else "") + format_value(scale.low, form)
        high = ("≥ " if scale.above else "") + format_value(scale.high, form)
        mark = f'<i class="ramp" style="background:{ramp()}"></i>'
    else:
        known = values[values == values]
        low, high = format_value(float(known.min()), form), format_value(float(known.max()), form)
        mark = '<i class="dot small"></i><i class="dot"></i><i class="dot large"></i>'
    return f'<span class="legend">{esc(low)}{mark}{esc(high)}</span>'
