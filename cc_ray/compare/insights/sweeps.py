"""Rules about sweeps: one model, one operation, one parameter at several levels."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import scipy

from cc_ray.compare.insights.changes import ALPHA, MARGIN, Change, Z
from cc_ray.compare.insights.evidence import union
from cc_ray.compare.insights.insight import Insight
from cc_ray.compare.insights.scene import Scene
from cc_ray.compare.insights.steps import LARGE_SHARE, heals, points
from cc_ray.compare.labels import value_text
from cc_ray.compare.statistics.intervals import holm

LEVELS: Final = 3
"""A knee needs a part that is flat and one that is steep."""
STEEPER: Final = 3.0
"""How many times as steep the curve falls behind a knee as before it."""


@dataclass(frozen=True)
class Fall:
    """Two neighbouring levels of a sweep, the milder one first."""

    parameter: str
    mild: float
    strong: float
    before: Change
    """The milder level against the parent."""
    after: Change
    """The stronger level against the parent."""

    @property
    def drop(self) -> float:
        """Share that the stronger level has less."""
        return self.before.difference - self.after.difference

    @property
    def half(self) -> float:
        """Half the width of the drop's 95 % interval, as if the two levels' changes were independent."""
        widths = [(change.ends[1] - change.ends[0]) / 2 for change in (self.before, self.after)]
        return math.hypot(*widths) if self.before.measured and self.after.measured else MARGIN

    @property
    def slope(self) -> float:
        """Share lost for each unit of the parameter."""
        return self.drop / abs(self.strong - self.mild)


def knee(scene: Scene) -> Iterator[Insight]:
    """The level of a sweep behind which accuracy falls off."""
    for falls in _sweeps(scene):
        steepest = max(falls, key=lambda fall: fall.drop)
        milder = falls[: falls.index(steepest)]
        p = _p(falls)[falls.index(steepest)]
        gentle = max((abs(fall.slope) for fall in milder), default=0.0)
        first = -falls[0].before.difference
        flat = first + sum(fall.drop for fall in milder) < steepest.drop / STEEPER
        if steepest.drop > steepest.half and p < ALPHA and flat and steepest.slope > STEEPER * gentle:
            yield _told(scene, steepest, p)


def _told(scene: Scene, fall: Fall, p: float) -> Insight:
    model_id, parent = fall.after.model_id, fall.after.other
    operation = scene.models[model_id]["operation"]
    mild, strong = (value_text(level) for level in (fall.mild, fall.strong))
    measured = fall.before.measured and fall.after.measured
    return Insight(
        rule="knee",
        sentence=(
            f"{str(operation).replace('_', ' ').capitalize()} of {scene.called(parent)} has a knee at "
            f"{fall.parameter} {mild}: from there to {strong} it loses {points(fall.drop)} of {fall.after.label}."
        ),
        model_id=model_id,
        kind="loss",
        effect=-fall.drop,
        unit="share",
        bound=fall.drop - fall.half,
        scale=LARGE_SHARE,
        facts={"drop": fall.drop},
        evidence=(
            "SELECT mild - strong AS drop FROM "
            + union(
                f"SELECT change AS {name} FROM ({change.evidence})"
                for name, change in (("mild", fall.before), ("strong", fall.after))
            ).removeprefix("SELECT * FROM ")
        ),
        measured=measured,
        p_value=p if measured else None,
    )


def _p(falls: list[Fall]) -> list[float]:
    """P-values of no drop, corrected over the sweep; 0 or 1 where no interval is known."""
    z = np.array([fall.drop / (fall.half / Z) if fall.half > 0 else np.inf for fall in falls])
    found: list[float] = holm(scipy.special.ndtr(-z)).tolist()
    return found


def _sweeps(scene: Scene) -> Iterator[list[Fall]]:
    for levels in _levels(scene).values():
        for parameter, values in levels.items():
            if len(values) >= LEVELS:
                ordered = _mild_first(values)
                yield [
                    Fall(parameter, mild, strong, before, after)
                    for (mild, before), (strong, after) in pairwise(ordered)
                ]


def _mild_first(values: dict[float, Change]) -> list[tuple[float, Change]]:
    """Levels from the end of the sweep that loses less to the other."""
    ordered = sorted(values.items())
    ends = [change.difference for _, change in (ordered[0], ordered[-1])]
    return ordered if ends[0] >= ends[1] else ordered[::-1]


def _levels(scene: Scene) -> dict[tuple[str, ...], dict[str, dict[float, Change]]]:
    """Changes against the parent by sweep (parent, operation, all other parameters), parameter and level."""
    found: dict[tuple[str, ...], dict[str, dict[float, Change]]] = defaultdict(lambda: defaultdict(dict))
    for model_id in scene.wanted:
        row, change = scene.models[model_id], scene.changes.get((model_id, "parent"))
        if change is None or heals(row["operation"]):
            continue
        parameters = scene.labels.parameters[model_id]
        for name, level in parameters.items():
            if isinstance(level, int | float) and not isinstance(level, bool):
                others = json.dumps({key: value for key, value in parameters.items() if key != name}, sort_keys=True)
                found[row["parent"], row["operation"], name, others, change.metric][name][level] = change
    return found
