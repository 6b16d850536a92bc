"""Lines on the scatterplot that one drags to limit a metric: budgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS
from bokeh.models.annotations import Label, Span

from cc_ray.wording import format_value
from dashboards.axes import tick_code
from dashboards.figures import Plot
from dashboards.overview.filters import OPEN, Filters, Interval
from dashboards.snapshot import Metric
from dashboards.theme import ACCENT, FONT, SURFACE

WAIT_MS: Final = 160
"""How long a line must rest until models are counted anew."""

_DRAGGED: Final = """
// Python put it there.
if (told.data[axis][0] === span.location) return
const write = (tick) => { %s }
label.text = `${sign} ${write(span.location)}`
label[axis] = span.location
span.line_alpha = label.text_alpha = 1
clearTimeout(told.waiting)
told.waiting = setTimeout(() => { told.data = { ...told.data, [axis]: [span.location] } }, wait)
"""


class Limits:
    """One line an axis whose metric has a better side; where it is dragged to, models beyond it no longer pass.

    Args:
        plot: The scatterplot.
        metrics: Of the x axis and of the y axis.
        told: Told of the metric and the limit, None where the line was dragged off the models.
    """

    def __init__(
        self,
        plot: Plot,
        metrics: tuple[Metric, Metric],
        told: Callable[[str, Interval], None],
    ) -> None:
        self._metrics, self._told = metrics, told
        values = (np.array(plot.source.data[axis], float) for axis in "xy")
        self._extents = tuple((float(np.nanmin(own)), float(np.nanmax(own))) for own in values)
        self._placing = False
        self.lines = tuple(Span(dimension=kind, editable=True, line_width=2) for kind in ("height", "width"))
        look: dict[str, Any] = {
            "text_color": ACCENT,
            "text_font": FONT,
            "text_font_size": "11px",
            "background_fill_color": SURFACE,
        }
        self.labels = tuple(Label(x=0, y=0, x_offset=4, y_offset=3, background_fill_alpha=0.8, **look) for _ in "xy")
        self.source = ColumnDataSource({"x": [0.0], "y": [0.0]})
        for line, label in zip(self.lines, self.labels, strict=True):
            line.line_color, line.line_dash = ACCENT, [2, 2]
            plot.figure.add_layout(line)
            plot.figure.add_layout(label)
        self.labels[0].update(y_units="screen", y=2)
        self.labels[1].update(x_units="screen", x=2)
        self._watch()

    def _watch(self) -> None:
        """Write beside a line what it stands at while it is dragged, and tell when it rests."""
        for axis, line, label, metric in zip("xy", self.lines, self.labels, self._metrics, strict=True):
            args = {"span": line, "label": label, "told": self.source, "axis": axis, "wait": WAIT_MS}
            code = _DRAGGED % tick_code(metric.format)
            line.js_on_change("location", CustomJS(args=args | {"sign": sign(metric)}, code=code))
        self.source.on_change("data", self._moved)

    def place(self, filters: Filters) -> None:
        """Put the lines where the limits are; without a limit a pale one stands at the worst value, to be taken."""
        ends = []
        for metric in self._metrics:
            low, high = filters.intervals.get(metric.metric, OPEN)
            ends.append(high if metric.direction == "lower" else low)
        places = [self._worst(place) if end is None else end for place, end in enumerate(ends)]
        self._placing = True
        # Told before the lines move: that tells the browser that nobody drags them.
        self.source.data = {axis: [at] for axis, at in zip("xy", places, strict=True)}
        marks = zip("xy", self.lines, self.labels, self._metrics, ends, places, strict=True)
        for axis, line, label, metric, end, shown in marks:
            line.visible = label.visible = metric.direction != "none"
            line.line_alpha = 0.35 if end is None else 1
            label.text = "" if end is None else f"{sign(metric)} {format_value(end, metric.format)}"
            line.location = shown
            label.update(**{axis: shown})
        self._placing = False

    def _worst(self, place: int) -> float:
        low, high = self._extents[place]
        return high if self._metrics[place].direction == "lower" else low

    def _moved(self, name: str, old: dict[str, list[float]], new: dict[str, list[float]]) -> None:
        if self._placing:
            return
        for place, axis in enumerate("xy"):
            if old[axis] != new[axis]:
                metric, end = self._metrics[place], float(new[axis][0])
                lower = metric.direction == "lower"
                open_ = end >= self._worst(place) if lower else end <= self._worst(place)
                limit = None if open_ else end
                self._told(metric.metric, (None, limit) if lower else (limit, None))


def sign(metric: Metric) -> str:
    """How a limit of a metric is said."""
    return "≤" if metric.direction == "lower" else "≥"
