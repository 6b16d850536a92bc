"""How answers flow from a base to a model, as a drawing in the page.

HoloViews has such a diagram too; making it takes a second or more of the one thread that draws for all tabs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dashboards.markup import esc
from dashboards.snapshot import Row

MOST_FLOWS: Final = 24
"""Changes of class that are drawn: the largest."""
WIDTH: Final = 520
HEIGHT: Final = 270
ROOM: Final = 150
"""For the labels at either side."""
NODE: Final = 8
GAP: Final = 13
"""Between places: labels of thin ones must not touch."""
LEAST: Final = 1.2
"""Height of the thinnest ribbon."""

_OUTCOMES: Final = {
    "wrong": ("Base right", "Lost", "lost"),
    "right": ("Base wrong", "Gained", "gained"),
    "same wrong": ("Base wrong", "Same wrong class", "wrong"),
    "other wrong": ("Base wrong", "Other wrong class", "wrong"),
}


@dataclass(frozen=True)
class Flow:
    """So many instances from one place to another."""

    before: str
    after: str
    count: int
    kind: str
    """lost, gained or wrong."""


def outcome_flows(rows: Iterable[Row]) -> list[Flow]:
    """From the base's right and wrong answers to a model's, as `compare.outcomes` gives them.

    What stays right is left out: beside it hardly anything else would be seen.
    """
    return [
        Flow(*_OUTCOMES[row["outcome"]][:2], row["count"], _OUTCOMES[row["outcome"]][2])
        for row in rows
        if row["count"] and (row["base_outcome"], row["outcome"]) != ("right", "right")
    ]


def class_flows(rows: Iterable[Row]) -> list[Flow]:
    """From the base's predictions to a model's other ones, as `compare.prediction_changes` gives them."""
    return [
        Flow(
            row["base_prediction_name"],
            row["prediction_name"],
            row["count"],
            "lost" if row["lost"] > row["gained"] else "gained" if row["gained"] > row["lost"] else "wrong",
        )
        for row in rows
    ]


def sankey(flows: Sequence[Flow]) -> str:
    """SVG of flows from the left to the right; heights are numbers of instances."""
    befores, afters = ({name: 0 for name in _names(flows, side)} for side in ("before", "after"))
    for flow in flows:
        befores[flow.before] += flow.count
        afters[flow.after] += flow.count
    most = max(len(befores), len(afters))
    scale = (HEIGHT - GAP * (most - 1) - LEAST * len(flows)) / max(sum(befores.values()), 1)
    left, right = (_places(counts, flows, side, scale) for side, counts in (("before", befores), ("after", afters)))
    used = {("before", name): at for name, (at, _) in left.items()} | {
        ("after", name): at for name, (at, _) in right.items()
    }
    ribbons = []
    for flow in flows:
        tall = flow.count * scale + LEAST
        ribbons.append(_ribbon(flow, used["before", flow.before], used["after", flow.after], tall))
        used["before", flow.before] += tall
        used["after", flow.after] += tall
    nodes = "".join(_node(name, befores[name], *left[name], x=ROOM - NODE, before=True) for name in left)
    nodes += "".join(_node(name, afters[name], *right[name], x=WIDTH - ROOM, before=False) for name in right)
    return (
        f'<svg class="sankey" viewBox="0 -10 {WIDTH} {HEIGHT + 20}" role="img" aria-label="Flow of answers">'
        f"{''.join(ribbons)}{nodes}</svg>"
    )


def _names(flows: Sequence[Flow], side: str) -> list[str]:
    """Places of one side, the largest first."""
    counts: dict[str, int] = {}
    for flow in flows:
        counts[getattr(flow, side)] = counts.get(getattr(flow, side), 0) + flow.count
    return sorted(counts, key=lambda name: -counts[name])


def _places(counts: dict[str, int], flows: Sequence[Flow], side: str, scale: float) -> dict[str, tuple[float, float]]:
    """Top and height of each place."""
    found, at = {}, 0.0
    for name, count in counts.items():
        ribbons = sum(getattr(flow, side) == name for flow in flows)
        tall = count * scale + LEAST * ribbons
        found[name] = (at, tall)
        at += tall + GAP
    return found


def _ribbon(flow: Flow, top: float, end: float, tall: float) -> str:
    start, stop = ROOM, WIDTH - ROOM
    middle = (start + stop) / 2
    return (
        f'<path class="{flow.kind}" d="M{start} {top:.1f}C{middle} {top:.1f} {middle} {end:.1f} {stop} {end:.1f}'
        f'V{end + tall:.1f}C{middle} {end + tall:.1f} {middle} {top + tall:.1f} {start} {top + tall:.1f}Z">'
        f"<title>{esc(flow.before)} → {esc(flow.after)}: {flow.count:,}</title></path>"
    )


def _node(name: str, count: int, top: float, tall: float, *, x: float, before: bool) -> str:
    at, anchor = (x - 6, "end") if before else (x + NODE + 6, "start")
    short = name if len(name) <= 18 else f"{name[:17]}…"
    return (
        f'<rect x="{x}" y="{top:.1f}" width="{NODE}" height="{tall:.1f}"/><text x="{at}" y="{top + tall / 2 + 4:.1f}"'
        f' text-anchor="{anchor}"><title>{esc(name)}</title>{esc(short)} <tspan>{count:,}</tspan></text>'
    )
