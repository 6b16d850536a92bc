import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cc_ray.search import SearchSpace, choice, optional, recipe, step, tuner, uniform
from cc_ray.search.plan import plan
from cc_ray.search.progress import Progress
from cc_ray.search.sampling import listed
from cc_ray.search.space import RecipeSpace
from cc_ray.search.tuner import explore
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from cc_ray.trial import run_trial

PRUNE = step("magnitude_pruning", sparsity=0.5)
NOWHERE = step("magnitude_pruning", sparsity=0.5, include=["nowhere"])
ROUND = step("uniform_quantization", bits=choice(3, 4))


def space(*recipes: RecipeSpace, **fields: Any) -> SearchSpace:
    return SearchSpace("s", "digits", recipes, **{"baselines": False, **fields})


def states(store: Store) -> Counter[str]:
    """Trials by their last state."""
    rows = store.read("trials").sort_by("at").to_pylist()
    return Counter({row["trial_id"]: row["state"] for row in rows}.values())


def steps_run(store: Store) -> Counter[str]:
    """Executions of steps by model, the base model's apart."""
    rows = store.read("step_runs").to_pylist()
    return Counter(row["model_id"] for row in rows if row["kind"] == "step" and row["study_id"])


def study_states(store: Store) -> list[str]:
    return [str(row["state"]) for row in store.read("studies").sort_by("at").to_pylist()]


@pytest.mark.usefixtures("ray_cluster")
def test_a_study_shares_steps_keeps_to_its_plan_and_runs_only_what_is_new(digits_store: Store) -> None:
    seen: list[Progress] = []
    first = space(recipe("resnet", [PRUNE, optional(ROUND)]))
    planned = plan(first, digits_store)

    summary = explore(first, digits_store, on_progress=seen.append)

    assert summary.state == "finished" and not summary.failures
    assert (planned.trials, planned.steps, planned.unique_steps, planned.shared) == (3, 8, 4, 4)
    assert (planned.known, planned.to_run) == (1, 3)
    assert steps_run(digits_store) == dict.fromkeys(steps_run(digits_store), 1)
    assert len(steps_run(digits_store)) == planned.to_run == summary.progress.models_done
    assert states(digits_store) == {"finished": 3}
    assert study_states(digits_store) == ["running", "finished"]
    rows = [row for row in digits_store.read("trials").to_pylist() if row["state"] == "finished"]
    assert sum(row["steps_run"] for row in rows) == 3 and sum(row["steps_reused"] for row in rows) == 5
    assert seen[0].models_total == 4 and seen[0].models_done == 0
    assert summary.progress.best["accuracy"].value > 0.9

    # Again: nothing runs, nothing is written.
    version = digits_store.version()
    assert plan(first, digits_store).to_run == 0 and plan(first, digits_store).estimated_s == 0
    assert explore(first, digits_store).progress.models_done == 0
    assert digits_store.version() == version

    # More of it: only the new step runs.
    more = space(recipe("resnet", [PRUNE, optional(ROUND)]), recipe("resnet", [step("quantize_weights")]))
    assert plan(more, digits_store).to_run == 1
    assert explore(more, digits_store).progress.models_done == 1
    assert set(steps_run(digits_store).values()) == {1} and len(steps_run(digits_store)) == 4

    # Another study of the same recipes: its trials are finished without a step.
    other = SearchSpace("other", "digits", first.recipes, baselines=False)
    assert explore(other, digits_store).progress.models_reused == 4
    assert len(steps_run(digits_store)) == 4


@pytest.mark.usefixtures("ray_cluster")
def test_with_ray_comes_out_what_comes_out_without(digits_store: Store, tmp_path: Path) -> None:
    # The base model is trained in both places too.
    here = Store(tmp_path / "here", create=True)
    there = Store(tmp_path / "there", create=True)
    both = space(recipe("resnet", [step("channel_pruning", ratio=0.5), step("fine_tune", epochs=1)]))
    (only,) = listed(both)

    model_id = run_trial(here, Digits(), only, study_id="s").model_id
    explore(both, there)

    models = [
        store.read("models").select(["model_id", "artifact", "name"]).sort_by("model_id") for store in (here, there)
    ]
    assert models[0].num_rows == 3 and models[0].equals(models[1])
    predictions = [store.read("predictions", keys={"step": model_id}) for store in (here, there)]
    assert predictions[0].equals(predictions[1])
    assert here.keys("latency") == there.keys("latency") and here.keys("task") == there.keys("task")


@pytest.mark.usefixtures("ray_cluster")
def test_a_step_that_fails_fails_its_trials_and_no_others(digits_store: Store) -> None:
    # Of a step that follows a change of the architecture it is not known before that it does not apply.
    cut = step("channel_pruning", ratio=0.25)
    failing = space(recipe("resnet", [cut, NOWHERE, optional(ROUND)]), recipe("resnet", [PRUNE]))

    summary = explore(failing, digits_store)

    assert summary.state == "finished"
    assert states(digits_store) == {"failed": 3, "finished": 1}
    assert {failure.step.split("(")[0] for failure in summary.failures} == {"magnitude_pruning"}
    assert all("nowhere" in failure.reason for failure in summary.failures)
    row = next(row for row in digits_store.read("trials").to_pylist() if row["state"] == "failed")
    assert "nowhere" in row["failed_step"] and "nowhere" in row["reason"] and row["model_id"] is None
    assert summary.progress.models_failed == 1 and summary.progress.trials_failed == 3
    # The base, the two that worked and the one that failed: what would have followed is never made.
    assert summary.progress.models_total == 4

    runs = digits_store.read("step_runs").num_rows
    assert len(explore(failing, digits_store).failures) == 3
    assert digits_store.read("step_runs").num_rows == runs
    assert len(explore(failing, digits_store, retry_failed=True).failures) == 3
    assert digits_store.read("step_runs").num_rows == runs + 1


@pytest.mark.usefixtures("ray_cluster")
def test_random_takes_as_many_as_asked(digits_store: Store) -> None:
    prune = step("magnitude_pruning", sparsity=uniform(0.1, 0.9))

    explore(space(recipe("resnet", [prune]), method="random", samples=3), digits_store)

    assert states(digits_store) == {"finished": 3}
    assert len(steps_run(digits_store)) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_optuna_counts_the_samples_of_all_sessions(digits_store: Store) -> None:
    def guided(samples: int) -> SearchSpace:
        prune = step("magnitude_pruning", sparsity=uniform(0.1, 0.9))
        return space(recipe("resnet", [prune, optional(ROUND)]), method="tpe", samples=samples)

    assert not plan(guided(3), digits_store).exact
    assert explore(guided(3), digits_store).progress.trials_done == 3
    assert plan(guided(3), digits_store).trials_to_run == 0
    assert explore(guided(5), digits_store).progress.trials_done == 5

    assert states(digits_store) == {"finished": 5}
    assert set(steps_run(digits_store).values()) == {1}


@pytest.mark.usefixtures("ray_cluster")
def test_many_trials_wait_at_once_on_few_cpus(digits_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "coordinators", lambda cpus, memory_bytes: 8)
    seen: list[Progress] = []
    bits = step("uniform_quantization", bits=choice(3, 4, 8), granularity=choice("tensor", "channel"))
    wide = space(recipe("resnet", [step("fine_tune", epochs=6), optional(bits)]), recipe("resnet", [PRUNE]))

    explore(wide, digits_store, on_progress=seen.append)

    assert max(progress.trials_running for progress in seen) == 8
    assert states(digits_store) == {"finished": 8}


@pytest.mark.usefixtures("ray_cluster")
def test_a_time_budget_ends_the_session_and_the_next_goes_on(digits_store: Store) -> None:
    recipes = recipe("resnet", [step("fine_tune", epochs=choice(2, 3))])

    stopped = explore(space(recipes, time_budget_s=0.1), digits_store)

    assert stopped.state == "stopped"
    assert study_states(digits_store) == ["running", "stopped"]
    assert explore(space(recipes), digits_store).progress.trials_done == 2
    assert set(steps_run(digits_store).values()) == {1}


DRIVER = """
import sys
from cc_ray.search import SearchSpace
from cc_ray.search.tuner import explore
from cc_ray.store import Store
import json
space = SearchSpace.from_json(json.loads(sys.argv[2]))
def tell(progress):
    if progress.models_done:
        print("under way", flush=True)
ended = explore(space, Store(sys.argv[1]), on_progress=tell)
print(ended.state, "by somebody" if ended.interrupted else "")
"""


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_next_run_goes_on(digits_store: Store, number: signal.Signals) -> None:
    tuned = space(recipe("resnet", [PRUNE, step("fine_tune", epochs=choice(6, 7))]))
    arguments = [sys.executable, "-c", DRIVER, str(digits_store.root), json.dumps(tuned.to_json())]

    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        assert driver.stdout and driver.stdout.readline() == "under way\n"
        driver.send_signal(number)
        said, complained = driver.communicate(timeout=60)

    assert driver.returncode == 0
    assert said.split("\n")[-2] == "stopped by somebody" and complained == ""
    assert study_states(digits_store) == ["running", "stopped"]
    assert states(digits_store)["stopped"] > 0 and not states(digits_store)["running"]

    assert explore(tuned, digits_store).state == "finished"
    assert states(digits_store) == {"finished": 2}
    assert set(steps_run(digits_store).values()) == {1}


def test_trials_at_work_keep_all_cpus_busy_as_far_as_the_drivers_memory_goes() -> None:
    assert tuner.coordinators(2, 13e9) == 6
    assert tuner.coordinators(800, 64e9) == 320
    assert tuner.coordinators(800, 1e8) == 4
