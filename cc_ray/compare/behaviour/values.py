"""Measures of single answers, and how their values are taken against a base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from cc_ray.compare.behaviour.pairing import BOTH, DIVERGENCES
from cc_ray.errors import NotComparableError

Measure = Literal[
    "correct", "confidence", "true_probability", "loss", "margin", "entropy", "base_class_probability", "agree", "kl",
    "mse",
]  # fmt: skip
"""`base_class_probability` is the probability of the class that the base predicts; `agree` tells whether both predict
the same class; for the others see `predictions`."""
Kind = Literal["difference", "absolute", "ratio", "value"]
"""Model less base; that without its sign; model over base; the model's own value."""

EPSILON: Final = 1e-6
"""Added to the base's value that a ratio divides by."""
BASE: Final[Mapping[str, str | None]] = {
    **{name: f"base_{name}" for name in BOTH},
    "base_class_probability": "base_confidence",
    "agree": None,
    "kl": None,
    "mse": None,
}
"""Column with the base's value; None where there is none, because the measure compares two models."""


def values_of(table: pa.Table, measure: str, kind: str) -> pa.ChunkedArray:
    """A measure's values against the base, of the rows of `paired`, (n,) in double precision.

    Raises:
        NotComparableError: If the measure or kind is unknown.
    """
    check_measure(measure, kind)
    own, other = table[measure].cast(pa.float64()), BASE[measure]
    if kind == "value" or other is None:
        return own
    base = table[other].cast(pa.float64())
    match kind:
        case "ratio":
            return pc.divide(own, pc.add(base, EPSILON))
        case "absolute":
            return pc.abs(pc.subtract(own, base))
        case _:
            return pc.subtract(own, base)


def check_measure(measure: str, kind: str) -> None:
    """Make sure that there is such a measure and a way to take it.

    Raises:
        NotComparableError: If there is not.
    """
    for name, value, allowed in (("measure", measure, get_args(Measure)), ("kind", kind, get_args(Kind))):
        if value not in allowed:
            raise NotComparableError(f"{name}='{value}' is not known. Allowed: {', '.join(allowed)}.")


def computed(measure: str) -> list[str]:
    """What must be computed of the lists of probabilities for a measure."""
    return [measure] if measure in DIVERGENCES else []
