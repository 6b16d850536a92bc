"""Decides whether a step goes on, by what models were worth that came as far. Knows no cluster."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna

from cc_ray.reports import Report
from cc_ray.search.early_stopping import Contest, Decision, EarlyStopping

_Place = tuple[int, str, int]
"""How far a model has come: epochs, split and number of instances. Only models at one place are compared."""


class Referee:
    """Applies early stopping to the models of one study.

    Each place has an Optuna study of its own, in memory, in which every model is a trial that reports once: so the
    answers follow from the reports alone, and whoever reads these again decides alike.

    Args:
        contest: The rule.
        rows: Reports of earlier times, rows of `schema.REPORTS` in their order.
    """

    def __init__(self, contest: Contest, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._contest = contest
        self._seats: dict[_Place, _Seats] = {}
        self._decided: dict[tuple[str, _Place], Decision] = {}
        for row in rows:
            self.judge(row["model_id"], Report(**{name: row[name] for name in Report.__dataclass_fields__}))

    def judge(self, model_id: str, report: Report) -> Decision:
        """Decide about a model; asked again, as where a worker died, the answer is the same."""
        place = (report.epoch, report.split, report.n)
        if (model_id, place) not in self._decided:
            self._decided[model_id, place] = self._decide(place, report)
        return self._decided[model_id, place]

    def _decide(self, place: _Place, report: Report) -> Decision:
        stopping = self._contest.stopping
        if not stopping.looks_after(report.epoch):
            return Decision()
        seats = self._seats.setdefault(place, _Seats(self._contest))
        before = len(seats.taken)
        if not seats.loses(report) or before < stopping.models:
            return Decision()
        spared = self._contest.small_ones_go_on and not seats.is_beaten(report)
        return Decision("spare" if spared else "stop", _reason(stopping, report, before + 1))


@dataclass
class _Seats:
    """The models at one place."""

    contest: Contest
    taken: list[Report] = field(default_factory=list)

    def __post_init__(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            direction="maximize" if self.contest.higher else "minimize",
            sampler=optuna.samplers.RandomSampler(),
            pruner=_pruner(self.contest.stopping),
        )

    def loses(self, report: Report) -> bool:
        """Whether the rule is against a model, which takes its seat."""
        self.taken.append(report)
        if not math.isfinite(report.value):
            return True
        trial = self._study.ask()
        trial.report(report.value, step=1)
        loses = bool(trial.should_prune())
        # Those that are stopped here came as far, too.
        self._study.tell(trial, report.value)
        return loses

    def is_beaten(self, report: Report) -> bool:
        """Whether a model that is no larger does better."""
        sign = 1.0 if self.contest.higher else -1.0
        value = sign * report.value if math.isfinite(report.value) else -math.inf
        return any(sign * other.value > value and other.size_bytes <= report.size_bytes for other in self.taken)


def _pruner(stopping: EarlyStopping) -> optuna.pruners.BasePruner:
    if stopping.rule == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=0)
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=stopping.reduction)


def _reason(stopping: EarlyStopping, report: Report, count: int) -> str:
    after = f" after epoch {report.epoch}" if report.epoch else ""
    than = f"not among the best 1/{stopping.reduction}" if stopping.rule == "asha" else "worse than the median"
    where = f"{report.n} {report.split} instances"
    return f"stopped early: {stopping.metric} {report.value:.4g}{after} on {where}, {than} of {count} models"
