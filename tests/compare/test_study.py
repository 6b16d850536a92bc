from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import cc_ray
from cc_ray import compare
from cc_ray.errors import NotComparableError
from cc_ray.recipe import Recipe, Step
from cc_ray.search.records import TrialState
from cc_ray.store import Store
from cc_ray.views import Views, open_views
from tests.compare.small import START, TASK, Value, add_model, new_store

PRUNED = Step("prune", {"sparsity": 0.5})


@pytest.fixture
def views(tmp_path: Path) -> Views:
    """A study of one recipe with three seeds, of which one failed twice over, and one that was stopped early."""
    store = new_store(tmp_path, directions={"accuracy": "higher", "size_bytes": "lower"})
    add_study(store, "s", '{"accuracy": "higher", "size_bytes": "lower", "latency_p50_ms": "lower"}')
    add_study(store, "other", "{}")
    for seed, accuracy in enumerate((0.90, 0.92)):
        metrics: dict[str, Value] = {
            "accuracy": (accuracy, accuracy - 0.01, accuracy + 0.01),
            "size_bytes": 100.0 + seed,
        }
        add_model(store, f"aaa{seed}", steps=[PRUNED], seed=seed, metrics=metrics)
        add_trial(store, TrialState("s", Recipe("net", (PRUNED,), seed), "finished", model_id=f"aaa{seed}"))
    add_model(store, "better", metrics={"accuracy": 0.99, "size_bytes": 1.0})
    for seed in (2, 3):
        add_trial(store, TrialState("s", Recipe("net", (PRUNED,), seed), "failed", "loss is NaN", str(PRUNED)))
    add_trial(store, TrialState("s", Recipe("vit"), "failed", reason="out of memory"))
    for n, (value, decision) in enumerate([(0.5, "go"), (0.2, "stop")]):
        add_report(store, n, value, decision)
    for run, (cpus, seconds, outcome) in enumerate([(2.0, 1800.0, "published"), (1.0, 3600.0, "failed")]):
        add_run(store, run, cpus, seconds, outcome)
    return open_views(tmp_path)


def test_the_best_of_each_objective_is_of_the_studys_own_models(views: Views) -> None:
    found = {row["metric"]: row for row in compare.study_best(views, "s").to_pylist()}

    assert found.keys() == {"accuracy", "size_bytes"}
    best = found["accuracy"]
    assert (best["model_id"], best["value"], best["low"], best["high"]) == ("aaa1", 0.92, 0.91, 0.93)
    assert (found["size_bytes"]["model_id"], found["size_bytes"]["direction"]) == ("aaa0", "lower")
    assert compare.study_best(views, "other").num_rows == 0


def test_a_study_without_trials_is_of_the_models_that_were_imported_with_it(tmp_path: Path) -> None:
    store = cc_ray.open(tmp_path, create=True)
    for name, accuracy in (("net", 0.9), ("pruned", 0.8)):
        store.log_model(name, task="t", metrics={"accuracy": accuracy})
    models = store.models()
    study = models["study_id"].unique().to_pylist()[0]
    times = dict.fromkeys(("started_at", "finished_at", "at"), START)
    row = {"study_id": study, "state": "finished", "task_id": models["task_id"][0].as_py(), "search_space": "{}"}
    row |= {"objectives": '{"accuracy": "higher"}', "environment": "{}", "code_version": "1", **times}
    Store(tmp_path).publish("study", "imported", {"studies": [row]})
    views = open_views(tmp_path)

    (found,) = compare.studies(views).to_pylist()
    (best,) = compare.study_best(views, study).to_pylist()

    assert (found["trials"], found["models"]) == (0, 2)
    assert (best["name"], best["value"]) == ("net", 0.9)


def test_failures_are_counted_by_step_and_reason(views: Views) -> None:
    found = compare.failures(views, "s").to_pylist()

    assert [(row["failed_step"], row["reason"], row["trials"]) for row in found] == [
        (str(PRUNED), "loss is NaN", 2),
        (None, "out of memory", 1),
    ]
    assert found[1]["recipes"] == ["vit"]


def test_what_was_stopped_early_comes_with_what_was_seen_of_it(views: Views) -> None:
    (stopped,) = compare.stopped_early(views, "s").to_pylist()

    assert (stopped["model_id"], stopped["value"], stopped["made_since"]) == ("bad", 0.2, False)
    assert [row["value"] for row in compare.reports(views, "s").to_pylist()] == [0.5, 0.2]
    assert compare.reports(views, "other").num_rows == 0


def test_seeds_alone_move_the_objectives(views: Views) -> None:
    found = {row["metric"]: row for row in compare.study_repeats(views, "s").to_pylist()}

    assert found.keys() == {"accuracy", "size_bytes"}
    assert found["accuracy"]["repeats"] == 2
    assert found["accuracy"]["std"] == pytest.approx(0.02 / 2**0.5)
    assert compare.study_repeats(views, "other").num_rows == 0


def test_hours_are_those_that_processors_were_held(views: Views) -> None:
    assert compare.study_costs(views).to_pylist() == [
        {"study_id": "s", "runs": 2, "failed": 1, "cpu_hours": 2.0, "gpu_hours": 0.0}
    ]


def test_a_running_study_goes_on_at_the_pace_of_its_session(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_study(store, "s", "{}", state="running")
    for seed, state in enumerate(("finished", "failed", "running", "pending", "pending")):
        row = TrialState("s", Recipe("net", seed=seed), state).to_row(START + timedelta(seconds=10 * (seed < 2)))
        store.publish("trial", f"{seed}", {"trials": [row]})
    add_study(store, "ended", "{}")
    views = open_views(tmp_path)

    assert compare.time_left(views, "s") == 3 * 10 / 2
    assert compare.time_left(views, "ended") is None


def test_an_unknown_study_names_those_that_there_are(views: Views) -> None:
    with pytest.raises(NotComparableError, match="the store has other, s"):
        compare.study_best(views, "nothing")


def add_study(store: Store, study_id: str, objectives: str, state: str = "finished") -> None:
    row = {"study_id": study_id, "state": state, "task_id": TASK, "search_space": "{}", "objectives": objectives}
    times = {"started_at": START, "finished_at": START, "at": START}
    store.publish("study", study_id, {"studies": [{**row, **times, "code_version": "1", "environment": "{}"}]})


def add_trial(store: Store, trial: TrialState) -> None:
    store.publish("trial", trial.trial_id, {"trials": [trial.to_row(START)]})


def add_report(store: Store, number: int, value: float, decision: str) -> None:
    row: dict[str, Any] = {"model_id": "bad", "name": "net → prune()", "study_id": "s", "task_id": TASK, "epoch": 0}
    seen = {"split": "calibration", "n": 128 * (number + 1), "metric": "accuracy", "value": value, "size_bytes": 1}
    at = START + timedelta(seconds=number)
    store.publish("report", f"r{number}", {"reports": [{**row, **seen, "decision": decision, "at": at}]})


def add_run(store: Store, number: int, cpus: float, seconds: float, outcome: str) -> None:
    row = {"run_id": f"run{number}", "model_id": "aaa0", "kind": "step", "study_id": "s", "outcome": outcome}
    held = {"cpus": cpus, "started_at": START, "duration_s": seconds, "node": "n", "process": 1}
    store.publish("run", f"run{number}", {"step_runs": [{**row, **held}]})
