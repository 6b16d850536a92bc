"""How good a model is beside another one, with what chance alone could have done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from cc_ray.compare.asking import Row
from cc_ray.compare.insights.evidence import answers, beside, slices
from cc_ray.compare.statistics.intervals import holm, mcnemar
from cc_ray.wording import format_change

Floats = NDArray[np.float64]

MARGIN: Final = 0.01
"""A loss of share that counts as nothing, one point; where no interval is known, also what may be noise."""
ALPHA: Final = 0.05
Z: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Change:
    """A share (accuracy, mostly) of a model beside another model's."""

    model_id: str
    other: str
    relation: str
    """parent, base or order: what the other is to the model."""
    metric: str
    """Column of `model_metrics`; "accuracy" counted from the predictions where `n` is there."""
    label: str
    """What the share is called in a sentence."""
    value: float
    other_value: float
    low: float | None
    """Lower end of the difference's 95 % interval; none where no interval is known."""
    high: float | None
    p: float | None
    """That the two are equally good; not corrected."""
    lost: int = 0
    gained: int = 0
    differing: int = 0
    n: int = 0
    """Instances that both answered; 0 where there are no predictions."""
    part: str = ""
    """The slice; empty for all instances."""
    part_label: int | None = None
    part_metric: str = ""
    """A metric whose name tells the slice."""

    @property
    def difference(self) -> float:
        """Value less the other's."""
        if self.n:
            return (self.gained - self.lost) / self.n
        return self.value - self.other_value

    @property
    def measured(self) -> bool:
        """Whether chance was reckoned with."""
        return self.low is not None

    @property
    def bound(self) -> float:
        """The end of the interval that is nearest to no difference; 0 where they are not told apart."""
        low, high = self.ends
        return low if low > 0 else high if high < 0 else 0.0

    @property
    def ends(self) -> tuple[float, float]:
        """The interval; where none is known, the difference with `MARGIN` on both sides."""
        if self.low is None or self.high is None:
            return self.difference - MARGIN, self.difference + MARGIN
        return self.low, self.high

    @property
    def harmless(self) -> bool:
        """Whether a loss of `MARGIN` or more is ruled out; without an interval, whether it is at most half of that."""
        return self.low > -MARGIN if self.low is not None else self.difference >= -MARGIN / 2

    def significant(self, corrected: float | None) -> bool:
        """Whether it is more than chance, given its p-value corrected."""
        return self.bound != 0 and (corrected is None or corrected < ALPHA)

    @property
    def words(self) -> str:
        """The difference in points, with sign."""
        return in_points(self.difference)

    @property
    def evidence(self) -> str:
        """The query behind it, with columns value, other_value and change."""
        if self.n:
            return answers(self.model_id, self.other, self.part_label)
        if self.part and not self.part_metric:
            return slices(self.model_id, self.other, self.metric, self.part)
        columns = {"value": self.part_metric or self.metric}
        return beside(self.model_id, self.other, columns).replace("value_change", "change")

    @property
    def facts(self) -> dict[str, float]:
        """The numbers that the evidence gives."""
        return {"value": self.value, "other_value": self.other_value, "change": self.difference}


def in_points(difference: float) -> str:
    """A difference of shares in points, with its sign unless it rounds to nothing."""
    return format_change(difference if abs(difference) >= 0.0005 else 0.0, "percent")


def counted(rows: Iterable[Row]) -> list[Change]:
    """Changes of accuracy from rows of counts: model_id, other, relation, correct, other_correct, lost, gained, ..."""
    found = list(rows)
    lost, gained, n = (np.array([row[name] for row in found], float) for name in ("lost", "gained", "n"))
    low, high = paired_interval(lost, gained, n)
    p = mcnemar(lost, gained)
    return [
        Change(
            row["model_id"], row["other"], row["relation"], "accuracy", "accuracy",
            row["correct"] / row["n"], row["other_correct"] / row["n"], float(low[at]), float(high[at]), float(p[at]),
            int(row["lost"]), int(row["gained"]), int(row["differing"]), int(row["n"]),
            row.get("part", ""), row.get("part_label"),
        )
        for at, row in enumerate(found)
    ]  # fmt: skip


def paired_interval(lost: Floats, gained: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Ends of the 95 % interval of the accuracy difference (gained - lost) / n.

    It holds for small counts too, and where nothing flipped it still has a width.

    Source: Bonett, Price, 2012, "Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on
    Paired Data".
    """
    b, c = (lost + 1) / (n + 2), (gained + 1) / (n + 2)
    half = Z * np.sqrt((b + c - (c - b) ** 2) / (n + 2))
    return c - b - half, c - b + half


def unpaired(change: Change, own: tuple[float, float] | None, other: tuple[float, float] | None) -> Change:
    """The change with an interval made from those of its two values, as if their instances were not the same.

    That is too wide where they are the same, never too narrow as long as the two models' errors go together.

    Args:
        change: Without interval.
        own: The value's interval, if it has one.
        other: The other value's.
    """
    if own is None or other is None:
        return change
    error = math.hypot(*((high - low) / (2 * Z) for low, high in (own, other)))
    half = Z * error
    p = float(2 * scipy.special.ndtr(-abs(change.difference) / error)) if error > 0 else float(change.difference == 0)
    return replace(change, low=change.difference - half, high=change.difference + half, p=p)


def corrected(changes: Sequence[Change]) -> list[tuple[Change, float | None]]:
    """Each change with its p-value corrected by Holm over all of them."""
    p = [change.p for change in changes if change.p is not None]
    raised = iter(holm(p).tolist() if p else [])
    return [(change, None if change.p is None else next(raised)) for change in changes]
