"""What ends a study, or a step of it, before its time."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cc_ray.errors import CcRayError
from cc_ray.quiet import at_work, no_new_steps
from cc_ray.search import Resources, SearchSpace, choice, recipe, step
from cc_ray.search.records import TrialState, write_trials
from cc_ray.search.sampling import listed
from cc_ray.search.space import RecipeSpace
from cc_ray.search.tuner import explore
from cc_ray.store import Store

SLOW = step("fine_tune", epochs=10_000)
ROUND = step("uniform_quantization", bits=choice(2, 4, 8))

pytestmark = pytest.mark.usefixtures("ray_cluster")


def space(*recipes: RecipeSpace, **fields: Any) -> SearchSpace:
    return SearchSpace("s", "digits", recipes, **{"baselines": False, **fields})


def last_states(store: Store) -> dict[str, Any]:
    return {row["recipe_text"]: row for row in store.read("trials").sort_by("at").to_pylist()}


def test_a_step_that_takes_longer_than_its_limit_fails_and_no_other(digits_store: Store) -> None:
    both = space(recipe("resnet", [SLOW, ROUND]), recipe("resnet", [step("calibrate")]), step_time_limit_s=12)

    summary = explore(both, digits_store)

    assert summary.state == "finished"
    assert {failure.reason for failure in summary.failures} == {"it took longer than its limit of 12 s"}
    assert {failure.step.split("(")[0] for failure in summary.failures} == {"fine_tune"}
    assert (summary.progress.trials_done, summary.progress.trials_failed) == (1, 3)


@pytest.mark.slow
def test_waiting_for_a_turn_on_the_machine_counts_to_no_limit(digits_store: Store) -> None:
    only = space(recipe("resnet", [step("calibrate")]), step_time_limit_s=12)
    taken = threading.Event()

    def time_a_model() -> None:
        with no_new_steps(), at_work(alone=True):
            taken.set()
            time.sleep(24)

    somebody = threading.Thread(target=time_a_model)
    somebody.start()
    taken.wait()
    summary = explore(only, digits_store)
    somebody.join()

    assert (summary.state, summary.failures) == ("finished", ())


@pytest.mark.slow
def test_a_study_ends_when_its_budget_is_spent_and_says_so(digits_store: Store) -> None:
    spent = explore(space(recipe("resnet", [ROUND]), cpu_hours=1e-6), digits_store)

    assert (spent.state, spent.reason, spent.interrupted) == ("stopped", "budget of 1e-06 CPU-hours", False)
    assert spent.progress.cpu_hours > 1e-6
    # What was spent counts in later sessions, too.
    assert explore(space(recipe("resnet", [ROUND]), cpu_hours=1e-6), digits_store).progress.models_done == 0
    assert explore(space(recipe("resnet", [ROUND]), cpu_hours=1.0), digits_store).state == "finished"


def test_a_study_ends_when_its_front_no_longer_grows(digits_store: Store) -> None:
    # Weights thrown away by lot, in ten ways that are as bad as each other.
    lot = recipe("resnet", [step("random_pruning", sparsity=choice(0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97))])

    summary = explore(space(lot, objectives={"accuracy": "higher"}, patience=3), digits_store)

    assert (summary.state, summary.progress.unchanged) == ("stopped", summary.progress.unchanged)
    assert summary.progress.unchanged >= 3 and "hypervolume did not grow" in summary.reason
    rows = [row["hypervolume"] for row in digits_store.read("trials").to_pylist() if row["state"] == "finished"]
    assert rows and all(0 < volume <= 1 for volume in rows)


def test_steps_hold_what_they_ask_for_and_what_is_nowhere_is_refused_at_once(digits_store: Store) -> None:
    asked = {"uniform_quantization": Resources(cpus=2)}
    explore(space(recipe("resnet", [step("uniform_quantization", bits=8)]), resources=asked), digits_store)

    held = {(row["kind"], row["cpus"], row["gpus"]) for row in digits_store.read("step_runs").to_pylist()}
    assert ("step", 2.0, 0.0) in held and ("latency", 1.0, 0.0) in held
    with pytest.raises(CcRayError, match="asks for 1 CPU, 1 GPU, which no node of the cluster has"):
        explore(space(recipe("resnet", [ROUND]), resources={"*": Resources(gpus=1)}), digits_store)


def test_models_are_timed_on_the_nodes_that_the_space_names(digits_store: Store) -> None:
    timed = {"latency": Resources(cpus=0, custom={"timing": 1})}
    summary = explore(space(recipe("resnet", [ROUND]), resources=timed), digits_store)

    assert summary.state == "finished" and not summary.failures
    assert {row["cpus"] for row in digits_store.read("step_runs").to_pylist() if row["kind"] == "latency"} == {0.0, 1.0}


def test_a_machine_whose_clock_is_behind_has_the_last_word_all_the_same(digits_store: Store) -> None:
    only = space(recipe("resnet", [step("calibrate")]))
    ahead = datetime.now(UTC) + timedelta(hours=3)
    write_trials(digits_store, [(TrialState("s", recipe, "failed", "elsewhere"), ahead) for recipe in listed(only)])

    summary = explore(only, digits_store, retry_failed=True)

    assert (summary.state, summary.failures) == ("finished", ())
    assert [row["state"] for row in last_states(digits_store).values()] == ["finished"]
    assert explore(only, digits_store).progress.trials_done == 1
