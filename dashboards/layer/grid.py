"""A heat map as a table: its heads stay in sight and sort, arrow keys walk through its cells, which can be picked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cc_ray.wording import format_value
from dashboards.layer.table import ARROWS
from dashboards.markup import esc, ramp
from dashboards.scales import ColourScale, Values
from dashboards.theme import DIVERGING, SEQUENTIAL, css, text_on

LEVELS: Final = 40
"""Colours that cells are told apart by."""
HEAD_PX, CHARACTER_PX = 150, 5.4
"""Height of the heads of columns at most, and what a character takes of it."""
"""Share of the scale from which on text in a cell is white; by whether the scale has two ends that matter."""


@dataclass(frozen=True)
class Head:
    """The head of a row or a column."""

    key: str
    name: str
    """Whole."""
    label: str
    """As there is room for it."""
    mark: str = ""
    """HTML before the label."""


@dataclass(frozen=True)
class Grid:
    """What is drawn."""

    do: str
    """What a picked cell reports, with the keys of its row and column."""
    corner: str
    rows: Sequence[Head]
    columns: Sequence[Head]
    values: Values
    """(rows, columns); NaN where there is none, infinite where a cell is equal to what it is compared with."""
    texts: Sequence[Sequence[str]]
    """What each cell says."""
    scale: ColourScale
    picked: tuple[str, str] = ("", "")
    """Keys of a row and a column."""
    sorted_rows: str = ""
    """Key of the column that rows are sorted by; with - the least first."""
    sorted_columns: str = ""
    """Key of the row that columns are sorted by; with - the least first."""
    diverging: bool = False
    inside: Sequence[Sequence[str]] | None = None
    """Texts written into the cells; without them cells are small, and the heads of columns are written upwards."""


def grid(shown: Grid) -> str:
    """HTML of the table."""
    heads = "".join(_column(shown, head) for head in shown.columns)
    levels = _levels(shown)
    lines = "".join(_line(shown, head, place, levels[place]) for place, head in enumerate(shown.rows))
    kind = "grid turned" if shown.inside is None else "grid"
    longest = max((len(head.label) for head in shown.columns), default=0)
    height = min(HEAD_PX, 16 + CHARACTER_PX * longest)
    return (
        f"<style>{_colours(shown.diverging)} .turned thead .head {{ height: {height:.0f}px }}</style>"
        f'<table class="{kind}" style="--columns:{len(shown.columns)}" data-grid="{shown.do}"><thead><tr>'
        f"<th>{shown.corner}</th>{heads}</tr></thead><tbody>{lines}</tbody></table>"
    )


def legend(scale: ColourScale, form: str, equal: bool = False) -> str:
    """What the ends of the colours mean, and cells without one; with `equal` those that are equal, too."""
    low = ("≤ " if scale.below else "") + format_value(scale.low, form)
    high = ("≥ " if scale.above else "") + format_value(scale.high, form)
    nothing = '<span class="key"><i class="none"></i>no value</span>'
    if equal:
        nothing = f'<span class="key"><i class="equal"></i>equal</span>{nothing}'
    return f'<span class="legend">{esc(low)}<i class="ramp" style="background:{ramp()}"></i>{esc(high)}</span>{nothing}'


def order(values: Values, by: str) -> list[int]:
    """Places by their values, the largest first, or the least where `by` begins with -; those without one last."""
    signed = values if by.startswith("-") else -values
    # NaN comes last.
    return [int(place) for place in np.argsort(signed, kind="stable")]


def next_sort(current: str, key: str) -> str:
    """What a click on a head sorts by: the largest first, then the least, then as it was."""
    return {key: f"-{key}", f"-{key}": ""}.get(current, key)


def _levels(shown: Grid) -> list[list[str]]:
    """A CSS class for each cell."""
    span = (shown.scale.high - shown.scale.low) or 1.0
    share = np.clip((shown.values - shown.scale.low) / span, 0, 1)
    places = np.where(np.isnan(share), -1, np.round(share * (LEVELS - 1)))
    places = np.where(np.isinf(shown.values), LEVELS, places).astype(int)
    names = [*(f"g{place}" for place in range(LEVELS)), "equal", "none"]
    return [[names[place] for place in row] for row in places.tolist()]


def _colours(diverging: bool) -> str:
    ramp = DIVERGING if diverging else SEQUENTIAL
    steps = np.round(np.linspace(0, len(ramp) - 1, LEVELS)).astype(int)
    return "".join(
        f".g{place}{{background:{css(ramp[step])};color:{text_on(ramp[step])}}}"
        for place, step in enumerate(steps.tolist())
    )


def _column(shown: Grid, head: Head) -> str:
    sorted_ = {head.key: "descending", f"-{head.key}": "ascending"}.get(shown.sorted_rows, "")
    aria = f' aria-sort="{sorted_}"' if sorted_ else ""
    key, name = esc(head.key), esc(head.name)
    return (
        f'<th data-column="{key}" data-name="{name}"{aria}><button class="head" data-do="sort-rows" data-by="{key}"'
        f' data-key="column-{key}" data-tip="{name}. Sort by this column.">{head.mark}'
        f"<span><bdi>{esc(head.label)}</bdi></span><b>{ARROWS[sorted_]}</b></button></th>"
    )


def _line(shown: Grid, head: Head, place: int, levels: Sequence[str]) -> str:
    sorted_ = {head.key: "descending", f"-{head.key}": "ascending"}.get(shown.sorted_columns, "")
    picked = [head.key == shown.picked[0] and column.key == shown.picked[1] for column in shown.columns]
    entry = picked.index(True) if True in picked else 0 if place == 0 else -1
    inside = shown.inside[place] if shown.inside else [""] * len(levels)
    cells = "".join(
        f'<td class="{level}" data-v="{esc(text)}"{" tabindex=0" if at == entry else ""}'
        f"{' aria-selected=true' if picked[at] else ''}>{esc(inside[at])}</td>"
        for at, (level, text) in enumerate(zip(levels, shown.texts[place], strict=True))
    )
    key, name = esc(head.key), esc(head.name)
    return (
        f'<tr data-row="{key}" data-name="{name}"><th scope="row"><button class="head" data-do="sort-columns"'
        f' data-by="{key}" data-key="row-{key}" tabindex="-1" data-tip="{name}. Sort by this row.">{head.mark}'
        f"<span><bdi>{esc(head.label)}</bdi></span>"
        f"<b>{ARROWS[sorted_]}</b></button></th>{cells}</tr>"
    )
