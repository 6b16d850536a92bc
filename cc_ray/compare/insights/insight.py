"""One insight, and how insights of different rules are put in one order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import pyarrow as pa

Kind = Literal["loss", "gain", "doubt"]
"""Something got worse; something got better or cheaper; a figure or a step that should not be trusted."""

UNMEASURED: Final = 0.5
"""What an effect without an interval counts in the order: nobody knows how much of it is noise."""


@dataclass(frozen=True)
class Insight:
    """A sentence about models, with the number that it rests on."""

    rule: str
    sentence: str
    model_id: str | None
    """The model it is about; none where it is about all of them."""
    kind: Kind
    effect: float
    """The finding's size, in `unit`."""
    unit: str
    bound: float
    """What the order rests on: the end nearest to nothing of the effect's 95 % interval; the effect itself where there
    is no interval; of ratios the binary logarithm."""
    scale: float
    """A bound that anybody would call large: what makes effects of different units comparable."""
    facts: Mapping[str, float]
    """The sentence's numbers by their column in the evidence's one row."""
    evidence: str
    """SQL over the documented views."""
    measured: bool = True
    """Whether the bound is one of an interval, or the effect has no noise."""
    p_value: float | None = None
    """Holm-corrected over everything that the rule looked at in this task."""
    subject: str = ""
    """Of a model's insights about one subject only the strongest is told; empty stands alone."""
    view: str = "Overview"
    """Where to look: Overview, Behaviours or Layers."""

    @property
    def strength(self) -> float:
        """The bound in scales, squeezed into [0, 1) so that no one unit outshouts the others."""
        size = abs(self.bound) / self.scale
        return size / (1 + size) * (1.0 if self.measured else UNMEASURED)


SCHEMA: Final = pa.schema(
    {
        "rank": pa.int64(),
        "rule": pa.string(),
        "sentence": pa.string(),
        "model_id": pa.string(),
        "name": pa.string(),
        "kind": pa.string(),
        "effect": pa.float64(),
        "effect_unit": pa.string(),
        "p_value": pa.float64(),
        "score": pa.float64(),
        "evidence": pa.string(),
        "view": pa.string(),
    }
)


def ranked(found: Iterable[Insight], weights: Mapping[str, float]) -> list[tuple[float, Insight]]:
    """Insights with their scores, strongest first.

    The score is strength x the rule's weight / k for a rule's k-th strongest, so that one rule that fires for
    every model does not hide the others. Of several about one subject of one model the strongest is kept.

    Args:
        found: Insights in any order.
        weights: Weight of each rule.
    """
    strongest = sorted(found, key=lambda one: (-one.strength * weights[one.rule], one.rule, one.sentence))
    scored = list(_scored(_once_a_subject(strongest), weights))
    return sorted(scored, key=lambda pair: (-pair[0], pair[1].rule, pair[1].sentence))


def _once_a_subject(found: Iterable[Insight]) -> Iterator[Insight]:
    told: set[tuple[str | None, str]] = set()
    for one in found:
        key = (one.model_id, one.subject)
        if one.subject and key in told:
            continue
        told.add(key)
        yield one


def _scored(found: Iterable[Insight], weights: Mapping[str, float]) -> Iterator[tuple[float, Insight]]:
    places: Counter[str] = Counter()
    for one in found:
        places[one.rule] += 1
        yield one.strength * weights[one.rule] / places[one.rule], one
