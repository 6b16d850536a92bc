"""Early stopping on a small real cluster."""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from ray.actor import ActorHandle

from cc_ray.compress import validated_recipe
from cc_ray.recipe import Recipe, Step
from cc_ray.search import SearchSpace, asha, choice, either, median, optional, recipe, step
from cc_ray.search.early_stopping import Contest, EarlyStopping
from cc_ray.search.plan import plan
from cc_ray.search.space import Direction
from cc_ray.search.steps import release_actor, steps_actor
from cc_ray.search.tuner import explore
from cc_ray.search.waiting import complete
from cc_ray.search.work import Chain, Job
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits

TASK = Digits()
NOISE = Step("random_pruning", {"sparsity": 0.97})
ROUND = Step("uniform_quantization", {"bits": 8})
HOPELESS = Step("fine_tune", {"epochs": 30, "learning_rate": 10.0})


@pytest.fixture
def actor(ray_cluster: None, digits_store: Store) -> Iterator[ActorHandle]:
    """The store's actor, held by this process as a driver holds it."""
    yield steps_actor(str(digits_store.root))
    release_actor(str(digits_store.root))


def job(store: Store, *steps: Step, stopping: EarlyStopping | None = None, session: str = "one") -> Job:
    recipe = validated_recipe(Recipe("resnet", steps), TASK.bases)
    contest = Contest(stopping, higher=True, small_ones_go_on=False) if stopping else None
    return Job(str(store.root), TASK.to_json(), TASK.task_id, recipe, "s", session, contest=contest)


def last_model(job: Job) -> str:
    return job.recipe.model_ids(TASK.task_id)[-1]


def good_models_came_before(store: Store, *, epoch: int) -> None:
    """Reports of an earlier session of the study."""
    same = {"study_id": "s", "task_id": TASK.task_id, "split": "calibration", "n": 128, "metric": "accuracy"}
    rows = [
        {**same, "model_id": f"m{number}", "name": "", "epoch": epoch, "value": 0.99, "size_bytes": 1, "decision": "go",
         "reason": None, "at": datetime.now(UTC)}
        for number in range(4)
    ]  # fmt: skip
    store.publish("report", uuid.uuid4().hex, {"reports": rows})


def completed(*jobs: Job) -> list[Chain]:
    """All at once."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(complete, jobs))


def outcomes(store: Store) -> Counter[str]:
    return Counter(row["outcome"] for row in store.read("step_runs").to_pylist() if row["study_id"])


def files(store: Store) -> int:
    return sum(1 for _ in store.layout.artifacts.rglob("*.safetensors"))


@pytest.mark.usefixtures("actor")
def test_a_bad_model_is_stopped_on_the_ladder_and_leaves_nothing_but_its_report(digits_store: Store) -> None:
    good_models_came_before(digits_store, epoch=0)
    bad, before = job(digits_store, NOISE, stopping=asha()), files(digits_store)

    (chain,) = completed(bad)

    assert chain.state == "stopped" and chain.failure
    assert "not among the best 1/3 of 5 models" in chain.failure.reason
    assert chain.failure.failed_step.startswith("random_pruning")
    assert not digits_store.has("step", last_model(bad)) and not digits_store.has("latency", last_model(bad))
    assert files(digits_store) == before and not list(digits_store.layout.partial.glob("*"))
    assert outcomes(digits_store) == {"stopped": 1}
    (row,) = [row for row in digits_store.read("reports").to_pylist() if row["model_id"] == last_model(bad)]
    assert (row["decision"], row["split"], row["n"], row["epoch"]) == ("stop", "calibration", 128, 0)


@pytest.mark.usefixtures("actor")
@pytest.mark.parametrize("stopping", [asha(), median()])
def test_training_that_leads_nowhere_is_stopped_after_an_epoch(digits_store: Store, stopping: EarlyStopping) -> None:
    good_models_came_before(digits_store, epoch=1)
    bad = job(digits_store, HOPELESS, stopping=stopping)

    (chain,) = completed(bad)

    assert chain.state == "stopped"
    rows = [row for row in digits_store.read("reports").to_pylist() if row["model_id"] == last_model(bad)]
    assert [(row["epoch"], row["decision"]) for row in rows] == [(1, "stop")]


@pytest.mark.usefixtures("actor")
def test_what_another_trial_goes_on_from_is_made_to_the_end(digits_store: Store) -> None:
    good_models_came_before(digits_store, epoch=0)
    alone = job(digits_store, NOISE, stopping=asha())
    on = job(digits_store, NOISE, ROUND)

    together = completed(on, alone)

    assert [chain.state for chain in together] == ["finished", "finished"]


@pytest.mark.usefixtures("actor")
def test_what_was_stopped_is_made_when_another_trial_or_session_needs_it(digits_store: Store) -> None:
    good_models_came_before(digits_store, epoch=0)
    alone = job(digits_store, NOISE, stopping=asha())
    assert completed(alone, replace(alone, session="two"))[0].state == "stopped"

    # Its own session, which knows that it was stopped, and one without early stopping.
    chains = completed(job(digits_store, NOISE, ROUND), job(digits_store, NOISE, session="three"))

    assert [chain.state for chain in chains] == ["finished", "finished"]
    assert outcomes(digits_store)["stopped"] >= 1


PRUNE = either(
    step("magnitude_pruning", sparsity=choice(0.3, 0.5, 0.7, 0.9, 0.99)),
    step("random_pruning", sparsity=choice(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)),
)


def ladder_study(**fields: Any) -> SearchSpace:
    two: dict[str, Direction] = {"accuracy": "higher", "size_bytes": "lower"}
    noise = step("random_pruning", sparsity=0.85)
    recipes = [recipe("resnet", [PRUNE]), recipe("resnet", [noise, optional(step("calibrate"))])]
    return SearchSpace("s", "digits", recipes, two, baselines=False, **fields)


def front(store: Store, models: Iterable[str]) -> set[str]:
    values: dict[str, dict[str, float]] = {}
    for row in store.read("metrics").to_pylist():
        if row["model_id"] in models and row["slice"] == "all":
            values.setdefault(row["model_id"], {})[row["metric"]] = row["value"]
    points = {model: (-found["accuracy"], found["size_bytes"]) for model, found in values.items()}

    def beaten(own: tuple[float, float]) -> bool:
        return any(a <= own[0] and s <= own[1] and (a, s) != own for a, s in points.values())

    return {model for model, own in points.items() if not beaten(own)}


def answered(store: Store) -> int:
    """Evaluation instances that models made in the study were asked about."""
    steps = {row["model_id"] for row in store.read("step_runs").to_pylist() if row["study_id"]}
    whole = Counter(row["model_id"] for row in store.read("predictions").select(["model_id"]).to_pylist())
    parts = {row["model_id"]: row["n"] for row in store.read("reports").to_pylist() if row["split"] == "evaluation"}
    return sum(whole[model] or parts.get(model, 0) for model in steps)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_study_on_the_ladder_finds_the_same_front_with_fewer_answers(digits_store: Store) -> None:
    space = ladder_study(early_stopping=asha(models=3))
    assert plan(space, digits_store).stops_early

    summary = explore(space, digits_store)

    assert summary.state == "finished" and not summary.failures
    assert summary.progress.trials_done + summary.progress.trials_stopped == 14
    assert summary.progress.trials_stopped >= 3
    last = {row["trial_id"]: row for row in digits_store.read("trials").sort_by("at").to_pylist()}
    stopped = [row for row in last.values() if row["state"] == "stopped"]
    assert len(stopped) == summary.progress.trials_stopped
    assert all(row["reason"].startswith("stopped early: accuracy") and row["failed_step"] for row in stopped)
    assert all(row["model_id"] is None for row in stopped)
    few = answered(digits_store)
    found = {row["model_id"] for row in digits_store.read("models").to_pylist()}
    # What others go on from is there, however bad.
    assert any("sparsity=0.85" in row["name"] for row in digits_store.read("models").to_pylist())

    # Again: nothing runs.
    version = digits_store.version()
    again = explore(space, digits_store)
    assert digits_store.version() == version and again.progress.trials_stopped == len(stopped)
    assert plan(space, digits_store).trials_to_run == 0

    # Without early stopping the rest runs, and changes nothing of the front.
    whole = explore(ladder_study(), digits_store)
    assert whole.progress.trials_done == 14 and whole.progress.trials_stopped == 0
    everything = {row["model_id"] for row in digits_store.read("models").to_pylist()}
    assert front(digits_store, everything) == front(digits_store, found)
    assert few < answered(digits_store)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("rule", [asha, median])
def test_a_study_of_training_stops_hopeless_learning_rates(digits_store: Store, rule: Any) -> None:
    tune = step("fine_tune", epochs=6, learning_rate=choice(1e-3, 2e-3, 3e-3, 10.0, 9.0, 8.0))
    recipes = [recipe("resnet", [step("magnitude_pruning", sparsity=0.8), tune])]
    space = SearchSpace(
        "s", "digits", recipes, {"accuracy": "higher"}, baselines=False, early_stopping=rule(models=3),
        method="tpe", samples=6,
    )  # fmt: skip

    summary = explore(space, digits_store)

    assert summary.progress.trials_done + summary.progress.trials_stopped == 6
    assert summary.progress.trials_stopped > 0 and summary.progress.best["accuracy"].value > 0.9
    assert {row["epoch"] for row in digits_store.read("reports").to_pylist()} >= {1, 2, 3}
    version = digits_store.version()
    assert explore(space, digits_store).progress.trials_stopped == summary.progress.trials_stopped
    assert digits_store.version() == version
