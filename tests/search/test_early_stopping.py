"""Early stopping: the rule by itself, then studies on a small real cluster."""

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cc_ray.errors import InvalidRecipeError, UnknownMetricError
from cc_ray.reports import Report
from cc_ray.search import SearchSpace, asha, choice, median, optional, recipe, step
from cc_ray.search.agenda import take_stock
from cc_ray.search.early_stopping import Contest, EarlyStopping, contest_of
from cc_ray.search.records import TrialState, write_trials
from cc_ray.search.referee import Referee
from cc_ray.search.sampling import check, listed
from cc_ray.store import Store

ACCURACY = {"accuracy": "higher"}


def space(**fields: Any) -> SearchSpace:
    recipes = [recipe("resnet", [step("magnitude_pruning", sparsity=choice(0.3, 0.5))])]
    return SearchSpace(**{"name": "s", "task": "digits", "recipes": recipes, "objectives": ACCURACY, **fields})


def at(value: float, *, epoch: int = 0, n: int = 128, size_bytes: int = 100) -> Report:
    return Report(epoch, "calibration", n, value, size_bytes)


def verbs(referee: Referee, *reports: Report) -> list[str]:
    return [referee.judge(f"m{place}", report).verb for place, report in enumerate(reports)]


@pytest.mark.parametrize("stopping", [asha(), median("loss", models=2, warm_up=3, evaluation=(0.1, 0.5))])
def test_it_survives_the_round_trip_over_json(stopping: EarlyStopping) -> None:
    written = space(early_stopping=stopping)

    assert SearchSpace.from_json(json.loads(json.dumps(written.to_json()))).early_stopping == stopping
    # A study from before there was early stopping.
    data = {name: value for name, value in written.to_json().items() if name != "early_stopping"}
    assert SearchSpace.from_json(data).early_stopping is None


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: space(early_stopping="asha"), "'early_stopping' is 'asha'; allowed: asha(...), median(...) or None"),
        (lambda: asha(reduction=1), "'early_stopping: reduction' is 1; allowed: a whole number, 2 or more"),
        (lambda: median(models=0), "'early_stopping: models' is 0; allowed: a whole number, 1 or more"),
        (lambda: asha(calibration=-1), "'early_stopping: calibration' is -1"),
        (lambda: asha(evaluation=(0.5, 0.25)), "'early_stopping: evaluation' is (0.5, 0.25)"),
        (lambda: check(space(early_stopping=asha("size_bytes"))), "a metric of answers alone: accuracy, loss"),
    ],
)
def test_what_cannot_be_right_is_refused(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(InvalidRecipeError, match=re.escape(says)):
        make()


def test_an_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownMetricError, match="did you mean 'accuracy'"):
        check(space(early_stopping=asha("acuracy")))


def test_the_objectives_say_what_is_better_and_whether_size_counts() -> None:
    two = {"accuracy": "higher", "size_bytes": "lower"}

    assert contest_of(space()) is None
    assert contest_of(space(early_stopping=asha())) == Contest(asha(), higher=True, small_ones_go_on=False)
    assert contest_of(space(early_stopping=asha("loss"), objectives=two)) == Contest(asha("loss"), False, True)


def test_asha_looks_at_powers_and_median_at_every_epoch_after_the_first() -> None:
    assert [epoch for epoch in range(30) if asha(warm_up=2).looks_after(epoch)] == [0, 2, 6, 18]
    assert [epoch for epoch in range(6) if median(warm_up=3).looks_after(epoch)] == [0, 3, 4, 5]


def test_asha_lets_the_best_third_go_on() -> None:
    referee = Referee(Contest(asha(models=3), higher=True, small_ones_go_on=False))

    assert verbs(referee, *map(at, [0.5, 0.4, 0.3, 0.45, 0.6, 0.55, 0.2])) == [
        "go", "go", "go", "stop", "go", "go", "stop",
    ]  # fmt: skip
    assert referee.judge("m3", at(0.45)).reason == (
        "stopped early: accuracy 0.45 on 128 calibration instances, not among the best 1/3 of 4 models"
    )


def test_the_median_lets_the_better_half_go_on() -> None:
    referee = Referee(Contest(median("loss", models=2), higher=False, small_ones_go_on=False))

    assert verbs(referee, *map(at, [0.5, 0.3, 0.6, 0.35])) == ["go", "go", "stop", "go"]
    assert "worse than the median of 3 models" in referee.judge("m2", at(0.6)).reason


def test_only_models_that_came_as_far_are_compared_and_each_is_judged_once() -> None:
    referee = Referee(Contest(asha(models=1), higher=True, small_ones_go_on=False))

    assert verbs(referee, at(0.9, epoch=1)) == ["go"]
    assert referee.judge("m0", at(0.1, epoch=3)).verb == "go"
    # Again, as when a worker died and its step is run anew.
    assert referee.judge("m0", at(0.8, epoch=1)).verb == "go"
    assert referee.judge("m1", at(0.85, epoch=1)).verb == "stop"
    assert referee.judge("m2", at(0.85, n=64)).verb == "go"


def test_what_no_model_of_its_size_beats_goes_on_where_there_are_other_objectives() -> None:
    referee = Referee(Contest(asha(models=2), higher=True, small_ones_go_on=True))

    found = verbs(
        referee, at(0.9), at(0.8, size_bytes=50), at(0.3, size_bytes=10), at(0.2, size_bytes=10), at(0.7, size_bytes=60)
    )

    assert found == ["go", "go", "spare", "stop", "stop"]


def test_what_was_stopped_early_is_done_while_the_space_asks_for_early_stopping(digits_store: Store) -> None:
    asking = space(early_stopping=asha(), baselines=False)
    early, with_its_session = listed(asking)
    states = (
        TrialState("s", early, "stopped", "why", failed_step="magnitude_pruning()"),
        TrialState("s", with_its_session, "stopped", "why"),
    )
    write_trials(digits_store, [(state, datetime.now(UTC)) for state in states])

    agenda = take_stock(asking, digits_store)

    assert [state.recipe for state in agenda.stopped] == [early]
    assert agenda.to_run == (with_its_session,) and agenda.total == 2
    assert set(take_stock(space(baselines=False), digits_store).to_run) == {early, with_its_session}


def test_baselines_and_what_others_go_on_from_are_made_to_the_end() -> None:
    prune, tune = step("magnitude_pruning", sparsity=0.25), step("fine_tune", epochs=1)
    agenda = take_stock(space(early_stopping=asha(), recipes=[recipe("resnet", [prune, optional(tune)])]), None)

    may_stop = [made for made in agenda.to_run if made.model_ids(agenda.task.task_id)[-1] not in agenda.lasting]

    assert [[each.operation for each in made.steps] for made in may_stop] == [["magnitude_pruning", "fine_tune"]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_loses(value: float) -> None:
    referee = Referee(Contest(median("loss", models=1), higher=False, small_ones_go_on=True))

    assert verbs(referee, at(0.5), at(value), at(0.4)) == ["go", "stop", "go"]


@pytest.mark.parametrize("stopping", [asha(models=3), median(models=3)])
def test_whoever_reads_the_reports_again_decides_alike(stopping: EarlyStopping) -> None:
    chance = random.Random(0)
    contest = Contest(stopping, higher=True, small_ones_go_on=True)
    reports = [at(chance.random(), size_bytes=chance.randrange(5), epoch=chance.choice([1, 3])) for _ in range(40)]
    first = Referee(contest)
    rows = [{"model_id": f"m{place}", **vars(report)} for place, report in enumerate(reports)]

    decided = verbs(first, *reports)

    assert {"go", "stop"} <= set(decided)
    assert verbs(Referee(contest, rows[:20]), *reports) == decided
    assert verbs(Referee(replace(contest, stopping=replace(stopping, models=10_000)), rows), *reports) == ["go"] * 40
