"""When a step is ended before its time, as frozen data: the rule, what it looks at, and how far a model has to come.

`referee.py` applies it; the actor of the steps asks that one for each report of a step under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, get_args

from cc_ray.errors import InvalidRecipeError
from cc_ray.reports import Ladder

if TYPE_CHECKING:
    from cc_ray.search.space import SearchSpace

Rule = Literal["asha", "median"]
"""Which models go on: the best share of those that came as far (asynchronous successive halving), or those that are at
least as good as their median."""

Verb = Literal["go", "stop", "spare"]
"""What a step does after a report; spare: the rule would end it, but it goes on."""


@dataclass(frozen=True)
class EarlyStopping:
    """Ends last steps of recipes whose models do badly; made with `asha(...)` or `median(...)`."""

    rule: Rule
    metric: str = "accuracy"
    """What is looked at: a metric of answers alone."""
    models: int = 4
    """So many models have to have come as far before one is stopped."""
    warm_up: int = 1
    """Epochs of training before a step is stopped."""
    reduction: int = 3
    """Of so many models one goes on, with `asha`; steps that train are looked at after `warm_up` epochs times its
    powers."""
    ladder: Ladder = field(default_factory=Ladder)
    """What models are measured on whose operation reports nothing."""

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            _refuse("rule", self.rule, "asha or median")
        if not isinstance(self.metric, str):
            _refuse("metric", self.metric, "the name of a metric")
        for name, least in {"models": 1, "warm_up": 1, "reduction": 2}.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                _refuse(name, value, f"a whole number, {least} or more")
        if not isinstance(self.ladder.calibration, int) or self.ladder.calibration < 0:
            _refuse("calibration", self.ladder.calibration, "a whole number of instances, or 0")
        shares = self.ladder.evaluation
        if not all(0 < share < 1 for share in shares) or list(shares) != sorted(set(shares)):
            _refuse("evaluation", shares, "shares between 0 and 1, each larger than the one before")

    def looks_after(self, epoch: int) -> bool:
        """Whether a model is looked at after so many epochs; models that are made (epoch 0) always are."""
        if not epoch or self.rule == "median":
            return not epoch or epoch >= self.warm_up
        rung = self.warm_up
        while rung < epoch:
            rung *= self.reduction
        return rung == epoch

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads back."""
        return {**asdict(self), "ladder": {**asdict(self.ladder), "evaluation": list(self.ladder.evaluation)}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        held = data["ladder"]
        return cls(**{**data, "ladder": Ladder(held["calibration"], tuple(held["evaluation"]))})


def asha(
    metric: str = "accuracy",
    *,
    reduction: int = 3,
    models: int = 4,
    warm_up: int = 1,
    calibration: int = 128,
    evaluation: Sequence[float] = (0.25,),
) -> EarlyStopping:
    """Asynchronous successive halving: at each rung one model in `reduction` goes on.

    Args:
        metric: What is looked at: accuracy, loss or another metric of answers alone.
        reduction: Of so many models one goes on.
        models: So many models have to have come as far before one is stopped.
        warm_up: Epochs before the first rung of steps that train; the next rungs are at its products with powers of
            `reduction`.
        calibration: Of other steps the first rung: so many calibration instances; 0 for none. Steps that train are
            measured on as many after each epoch.
        evaluation: Of other steps the next rungs: shares of the evaluation split.

    Source: Li et al., 2020, "A System for Massively Parallel Hyperparameter Tuning", https://arxiv.org/abs/1810.05934
    """
    return EarlyStopping("asha", metric, models, warm_up, reduction, Ladder(calibration, tuple(evaluation)))


def median(
    metric: str = "accuracy",
    *,
    models: int = 4,
    warm_up: int = 1,
    calibration: int = 128,
    evaluation: Sequence[float] = (0.25,),
) -> EarlyStopping:
    """Stop what is worse than the median of the models that came as far; takes what `asha` takes.

    Source: Golovin et al., 2017, "Google Vizier: A Service for Black-Box Optimization" (median stopping)
    """
    return EarlyStopping("median", metric, models, warm_up, ladder=Ladder(calibration, tuple(evaluation)))


@dataclass(frozen=True)
class Contest:
    """Early stopping with what it takes from the study."""

    stopping: EarlyStopping
    higher: bool
    """Larger values of the metric are better."""
    small_ones_go_on: bool
    """There are other objectives: only a model that another one beats, which is no larger, may be stopped."""


@dataclass(frozen=True)
class Decision:
    """What becomes of a step after a report."""

    verb: Verb = "go"
    reason: str = ""
    """What the rule has against the model, in one line; empty for go."""


def contest_of(space: SearchSpace) -> Contest | None:
    """Early stopping as the study's objectives have it; None where the space asks for none.

    Raises:
        InvalidRecipeError: If its metric is not one of answers alone, or no values of it are better.
        UnknownMetricError: If there is no such metric.
    """
    if space.early_stopping is None:
        return None
    # Imported here: those who only wait for steps import this file too, and need no torch.
    from cc_ray.evaluate import metrics
    from cc_ray.evaluate.answers import kind_of
    from cc_ray.tasks import tasks

    kind = kind_of(tasks[space.task])
    name = space.early_stopping.metric
    direction = space.objectives.get(name, metrics[name].definition.direction)
    allowed = [each for each, metric in metrics.items() if metric.of_answers and metric.fits(kind)]
    if name not in allowed or direction == "none":
        _refuse("metric", name, f"a metric of answers alone: {', '.join(sorted(allowed))}")
    return Contest(space.early_stopping, direction == "higher", bool(set(space.objectives) - {name}))


def _refuse(place: str, value: object, allowed: str) -> NoReturn:
    raise InvalidRecipeError(f"search space: 'early_stopping: {place}' is {value!r}; allowed: {allowed}.")
