"""The map of changes: models down, classes or slices across, any number of either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cc_ray.compare.labels import points_text
from cc_ray.wording import format_change, format_value
from dashboards import markup
from dashboards.behaviour.averages import SIGNIFICANT, Averages
from dashboards.behaviour.class_table import instances_of
from dashboards.behaviour.terms import Measure, info
from dashboards.behaviour.view import choose, mark
from dashboards.markup import esc
from dashboards.scales import colour_scale
from dashboards.snapshot import Row
from dashboards.theme import DIVERGING, SEQUENTIAL, css, text_on

MOST_COLUMNS: Final = 60
"""Classes across at most: those that change most."""
WITH_TEXT: Final = 24
"""With more columns than this cells have no room for numbers."""


def heat_map(found: Averages, names: Mapping[str, str]) -> str:
    """HTML of the map; a cell leads to its instances."""
    keys = _columns(found)
    shown, ids = found.asked.shown, found.asked.now.ids
    crowded = len(keys) > WITH_TEXT
    scale = Scale.of(shown, [value for id in ids for key in keys if (value := _value(found, id, key)) is not None])
    heads = "".join(
        f'<th><span data-tip="{esc(name)}">{esc(name)}</span></th>' for name in map(found.groups.get, keys) if name
    )
    rows = []
    for place, id in enumerate(ids):
        full = esc(found.asked.snapshot.labels.name(id))
        cells = "".join(
            _cell(found, scale, id, key, crowded=crowded, reached=not place and key == keys[0]) for key in keys
        )
        rows.append(
            f'<tr data-of="{id}"><th scope="row" data-tip="{full}">{mark(place)}<span>{esc(names[id])}</span></th>'
            f"{cells}</tr>"
        )
    left = len(found.groups) - len(keys)
    rest = f"the {len(keys)} that change most, {left:,} more in the table; " if left else ""
    what = "class" if found.by_class else "slice"
    return (
        f'<div class="heat-head"><h2>{esc(scale.title(shown))} by model and {what} <small>{rest}* p &lt; 0.05 after '
        f"Holm {info('holm')}</small></h2>{scale.legend(shown)}</div>"
        f'<div class="wide" data-scroll="heat"><table class="heat{" crowded" if crowded else ""}" data-cells>'
        f"<thead><tr><th>{markup.unseen('Model')}</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


@dataclass(frozen=True)
class Scale:
    """Colours of cells: from worse to better where there is a change, else from low to high."""

    ramp: Sequence[str]
    low: float
    high: float
    outside: bool
    """Whether some values lie beyond and share the colour of the end."""

    @classmethod
    def of(cls, shown: Measure, values: Sequence[float]) -> Scale:
        """Fit the scale to values, their outliers left out."""
        if shown.alone:
            fitted = colour_scale(np.abs(np.array([0.0, *values])))
            limit = fitted.high or 1.0
            ramp = DIVERGING if shown.better != "lower" else DIVERGING[::-1]
            return cls(ramp, -limit, limit, fitted.above)
        fitted = colour_scale(np.array(values or [0.0]))
        return cls(SEQUENTIAL, fitted.low, fitted.high, fitted.above or fitted.below)

    def colours(self, value: float) -> tuple[str, str]:
        """Of a cell and of the text on it."""
        share = min(1.0, max(0.0, (value - self.low) / ((self.high - self.low) or 1.0)))
        ground = self.ramp[round(share * (len(self.ramp) - 1))]
        return css(ground), text_on(ground)

    def title(self, shown: Measure) -> str:
        """What the colours stand for."""
        return f"Change of {shown.label[:1].lower()}{shown.label[1:]}" if shown.alone else shown.label

    def legend(self, shown: Measure) -> str:
        """The scale with its ends."""
        write = format_change if shown.alone else format_value
        low, high = (esc(write(end, shown.format)) for end in (self.low, self.high))
        beyond = ' data-tip="Larger ones share the colour of the end"' if self.outside else ""
        signs = ("≤ ", "≥ ") if self.outside else ("", "")
        ramp = f'<i class="ramp" style="background:{markup.ramp(self.ramp)}"></i>'
        return f'<span class="legend"{beyond}><span>{signs[0]}{low}</span>{ramp}<span>{signs[1]}{high}</span></span>'


def _columns(found: Averages) -> list[str]:
    keys = list(found.groups)
    if len(keys) <= MOST_COLUMNS:
        return keys
    sizes = {key: max(abs(_value(found, id, key) or 0.0) for id in found.asked.now.ids) for key in keys}
    largest = set(sorted(keys, key=lambda key: -sizes[key])[:MOST_COLUMNS])
    return [key for key in keys if key in largest]


def _value(found: Averages, id: str, key: str) -> float | None:
    """What a cell's colour stands for: the change, or the mean of what compares two models."""
    row = found.cells.get((id, key))
    value: float | None = None if row is None else row["difference" if found.asked.shown.alone else "mean"]
    return value


def _cell(found: Averages, scale: Scale, id: str, key: str, *, crowded: bool, reached: bool) -> str:
    row, value = found.cells.get((id, key)), _value(found, id, key)
    if row is None or value is None:
        return '<td class="none" data-tip="No instance, or no value">–</td>'
    shown = found.asked.shown
    colour, ink = scale.colours(value)
    text = "" if crowded else f"{_short(value, shown)}{_star(row)}"
    text = text or _star(row)
    link = choose(f"heat-{id}-{key}", part="instances", only="all", sort="change", offset=0, **instances_of(found, key))
    return (
        f'<td style="background:{colour};color:{ink}" tabindex="{0 if reached else -1}" {link}'
        f' data-tip="{esc(_told(found, key, row))}">{text}</td>'
    )


def _star(row: Row) -> str:
    return "*" if row["holm_p"] is not None and row["holm_p"] < SIGNIFICANT else ""


def _short(value: float, shown: Measure) -> str:
    if shown.format == "percent":
        return points_text(100 * value) if shown.alone else f"{100 * value:.0f}"
    return (f"{value:+.2g}" if shown.alone else f"{value:.2g}").replace("-", "−")


def _told(found: Averages, key: str, row: Row) -> str:
    shown = found.asked.shown
    mean = format_value(row["mean"], shown.format)
    if not shown.alone:
        return f"{found.groups[key]}, n = {row['n']:,}: {mean}"
    base, change = format_value(row["base_mean"], shown.format), format_change(row["difference"], shown.format)
    p = "" if row["holm_p"] is None else f", p (Holm) {row['holm_p']:.2g}"
    return f"{found.groups[key]}, n = {row['n']:,}: {base} → {mean}, {change}{p}"
