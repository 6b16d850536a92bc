import json
import os
import signal
import sys
from typing import Any

import pytest

from cc_ray import cli
from cc_ray.compress import validated_recipe
from cc_ray.errors import InvalidRecipeError, NotComparableError, UnknownMetricError
from cc_ray.recipe import Recipe, Step
from cc_ray.search import SearchSpace, bisect, recipe, sampling
from cc_ray.search import step as step_of
from cc_ray.search.bisect import BisectPlan, BisectProgress, plan_bisection
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_step

TASK = Digits()
BASE = Recipe("resnet").model_ids(TASK.task_id)[0]
BREAK = Step("magnitude_pruning", {"sparsity": 0.95, "scope": "layer", "include": ["stem.0", "classifier"]})
SCRATCH = Step("uniform_quantization", {"bits": 6})


def made(store: Store, *steps: Step) -> str:
    """A model of these steps, not timed."""
    recipe = validated_recipe(Recipe("resnet", steps), TASK.bases)
    return [run_step(store, TASK, recipe, index).model_id for index in range(len(steps) + 1)][-1]


def planned(store: Store, model_id: str, parent_id: str, **options: Any) -> BisectPlan:
    return plan_bisection(store, model_id, parent_id, **{"tolerance": 0.01, "budget": 500} | options)


def accuracy(store: Store, model_id: str) -> float:
    rows = store.read("metrics", keys={"step": model_id}).to_pylist()
    return next(float(row["value"]) for row in rows if (row["metric"], row["slice"]) == ("accuracy", "all"))


@pytest.mark.usefixtures("ray_cluster")
def test_the_modules_that_did_the_damage_are_found_and_restoring_them_repairs_it(digits_store: Store) -> None:
    broken = made(digits_store, SCRATCH, BREAK)
    parent = made(digits_store, SCRATCH)
    plan = planned(digits_store, broken, parent, tolerance=0.02)

    found = bisect.bisect(plan, digits_store)

    answer = found.answer
    assert answer is not None and found.stopped is None
    assert (set(answer["modules"]), answer["proof"]) == ({"stem.0", "classifier"}, "smallest")
    assert (answer["candidates"], answer["left_out"], answer["failing_size"]) == (2, [], 1)
    assert answer["model_value"] < answer["target"] <= answer["value"]
    assert answer["evaluations"] == found.measured == len(digits_store.keys("recovery")) == 3
    assert [name for name, _ in found.alone] and dict(found.alone)["stem.0"] < answer["target"]

    step = Step.from_json(json.loads(answer["step"]))
    assert step.parameters == {"include": ["classifier", "stem.0"], "from_step": 1}
    assert accuracy(digits_store, made(digits_store, SCRATCH, BREAK, step)) == answer["value"]

    # Again: the answer is there. Another tolerance and metric: no set is measured again.
    assert bisect.bisect(plan, digits_store).reused
    for options in ({"tolerance": 0.03}, {"metric": "loss", "tolerance": 0.2}):
        other = bisect.bisect(planned(digits_store, broken, parent, **options), digits_store)
        assert not other.reused and other.measured == 0
    assert len(digits_store.keys("bisection")) == 3


def test_a_set_measured_here_is_as_a_worker_measures_it(digits_store: Store) -> None:
    broken = made(digits_store, BREAK)
    (unit, *_) = planned(digits_store, broken, BASE).units.able
    session = bisect._Session(planned(digits_store, broken, BASE), digits_store, lambda now: None)
    mixture = session._mixture(frozenset([unit.name]))

    (found,) = bisect.measure((str(digits_store.root), broken, BASE), [mixture])

    restored = made(digits_store, BREAK, Step("restore", {"include": list(unit.include)}))
    assert found["accuracy"][0] == accuracy(digits_store, restored)
    (again,) = bisect.measure((str(digits_store.root), broken, BASE), [mixture])
    assert again == found and len(digits_store.keys("recovery")) == 1


def test_a_model_that_is_near_enough_needs_nothing_and_no_cluster(digits_store: Store) -> None:
    scratched = made(digits_store, SCRATCH)

    found = bisect.bisect(planned(digits_store, scratched, BASE, tolerance=0.05), digits_store)

    assert found.answer is not None
    assert (found.answer["modules"], found.answer["proof"], found.answer["step"]) == ([], "smallest", None)
    assert found.measured == 0


@pytest.mark.usefixtures("ray_cluster")
def test_what_lost_channels_is_left_out_and_a_target_out_of_reach_is_said_to_be(digits_store: Store) -> None:
    cut = Step("channel_pruning", {"ratio": 0.5, "include": ["stages.1.conv1"]})
    smaller = made(digits_store, cut, BREAK)
    plan = planned(digits_store, smaller, BASE, tolerance=0.0)

    found = bisect.bisect(plan, digits_store)

    assert found.answer is not None
    assert set(found.answer["left_out"]) == {"stages.1.conv1", "stages.1.norm1", "stages.1.conv2"}
    assert {unit.name for unit in plan.units.able} == {"stem.0", "classifier"}
    assert (found.answer["proof"], found.answer["modules"], found.answer["step"]) == ("none", [], None)
    assert found.answer["value"] is None and found.answer["parent_value"] == found.answer["target"]
    with pytest.raises(NotComparableError, match="all 3 modules that differ have other shapes"):
        planned(digits_store, made(digits_store, cut), BASE)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ctrl_c_keeps_the_sets_that_were_measured(digits_store: Store) -> None:
    broken = made(digits_store, Step("uniform_quantization", {"bits": 2}))
    plan = planned(digits_store, broken, BASE, budget=20)

    def interrupt(now: BisectProgress) -> None:
        if now.measured and now.waiting:
            os.kill(os.getpid(), signal.SIGINT)

    stopped = bisect.bisect(plan, digits_store, on_progress=interrupt)

    assert stopped.answer is None and stopped.stopped == "stopped by SIGINT"
    kept = len(digits_store.keys("recovery"))
    assert kept and not digits_store.keys("bisection")
    rest = bisect.bisect(plan, digits_store)
    assert rest.answer is not None and rest.measured <= rest.answer["evaluations"] - stopped.measured
    assert rest.answer["proof"] in ("smallest", "minimal")
    assert rest.answer["value"] >= rest.answer["target"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"metric": "sparsity"}, UnknownMetricError, "accuracy"),
        ({"tolerance": -0.1}, InvalidRecipeError, "tolerance=-0.1: give 0 or more"),
    ],
)
def test_what_has_no_answer_is_refused_before_any_work(
    digits_store: Store, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    broken = made(digits_store, BREAK)

    with pytest.raises(error, match=said):
        planned(digits_store, broken, BASE, **options)


def test_only_an_ancestor_can_give(digits_store: Store) -> None:
    broken, other = made(digits_store, BREAK), made(digits_store, SCRATCH)

    with pytest.raises(NotComparableError, match=f"name one of {BASE} with --parent"):
        planned(digits_store, broken, other)
    with pytest.raises(NotComparableError, match="no module differs"):
        planned(digits_store, broken, broken)


def cc_ray(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["cc-ray", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.mark.usefixtures("ray_cluster")
def test_the_verb_tells_a_story_whose_step_can_be_pasted(
    digits_store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = made(digits_store, BREAK)
    monkeypatch.setenv("CC_RAY_STORE", str(digits_store.root))

    assert cc_ray(monkeypatch, "bisect", broken[:8], "--tolerance", "0.02") == 0
    told = capfd.readouterr().out
    assert cc_ray(monkeypatch, "bisect", broken[:8], "--tolerance", "0.02", "--format", "json") == 0
    (row,) = json.loads(capfd.readouterr().out)

    assert "2 modules differ" in told and "This is the smallest set" in told
    line = next(line for line in told.splitlines() if line.strip().startswith("step("))
    pasted = eval(line.strip().rstrip(","), {"step": step_of})
    prune = step_of("magnitude_pruning", **BREAK.parameters)
    space = SearchSpace("repaired", "digits", [recipe("resnet", [prune, pasted])])
    (only,) = sampling.listed(space)
    assert only.steps[-1].parameters == json.loads(row["step"])["parameters"]
    assert cc_ray(monkeypatch, "bisect", BASE[:8]) == 2
    assert "was made from no other model" in capfd.readouterr().err
