"""What a model is worth while its step is still under way, told to whoever may end the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """A metric of a model that is not published yet."""

    epoch: int
    """Epochs of training behind it; 0 where the model is made and only measured still."""
    split: str
    """Split of the task's data that it was measured on."""
    n: int
    """Instances that it was measured on."""
    value: float
    """In the metric's unit."""
    size_bytes: int
    """Of the saved model; of one in training its parent's."""


@dataclass(frozen=True)
class Ladder:
    """What a model is measured on whose operation reported nothing; the whole evaluation split comes last."""

    calibration: int = 128
    """Instances of the calibration split that come first, or as many as there are; 0 for none."""
    evaluation: tuple[float, ...] = (0.25,)
    """Shares of the evaluation split that come next, each with those before it, in (0, 1)."""


@dataclass(frozen=True)
class Listener:
    """Whom a step tells what its model is worth."""

    metric: str
    """Name of the metric that is told."""
    ladder: Ladder
    hear: Callable[[Report], None]
    """Takes a report; raises `StoppedEarlyError` where the step is to end."""
