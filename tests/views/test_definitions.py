import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cc_ray.recipe import Step
from cc_ray.schema import TABLES
from cc_ray.store import Store
from cc_ray.views import Views, open_views
from cc_ray.views.definitions import Definition, definitions
from cc_ray.views.reference import MARK, README, reference
from tests.compare.small import START, TASK, add_model, answers, new_store

BY_NAME = {definition.name: definition for definition in definitions()}


@pytest.mark.parametrize("name", BY_NAME)
def test_a_file_says_what_a_row_and_every_column_is(tmp_path: Path, name: str) -> None:
    store = new_store(tmp_path, directions={"accuracy": "higher"})
    add_model(store, "aaaa", metrics={"accuracy": 1.0})

    found = open_views(tmp_path).sql(f"FROM {name}").column_names

    assert BY_NAME[name].text.startswith("-- Grain: ")
    documented = {column.replace("<metric>", "accuracy") for column in BY_NAME[name].columns}
    assert sorted(documented) == sorted(found)
    assert all(BY_NAME[name].columns.values())


def test_the_readme_lists_every_view_table_and_column_as_it_is() -> None:
    assert README.read_text("utf-8").partition(MARK)[2].strip() == reference().strip()


@pytest.mark.parametrize("name", [name for name in BY_NAME if name in TABLES])
def test_a_view_over_a_table_keeps_its_columns(name: str) -> None:
    assert list(BY_NAME[name].columns) == TABLES[name].schema.names


def test_views_come_after_those_that_they_read() -> None:
    names = list(BY_NAME)

    assert names.index("pairs") < names.index("behaviours")
    assert not Definition("one", "-- Grain: x\nFROM other_two").uses("two")


def study(state: str, second: int, *, finished: bool) -> dict[str, object]:
    at = START.replace(second=second)
    return {
        "study_id": "s",
        "state": state,
        "task_id": TASK,
        "search_space": "{}",
        "objectives": "{}",
        "started_at": START,
        "finished_at": at if finished else None,
        "code_version": "0",
        "environment": "{}",
        "at": at,
    }


def trial(trial_id: str, state: str, second: int) -> dict[str, object]:
    return {
        "study_id": "s",
        "trial_id": trial_id,
        "recipe": "{}",
        "recipe_text": "net",
        "state": state,
        "steps_reused": 0,
        "steps_run": 0,
        "duration_s": 0.0,
        "at": START.replace(second=second),
    }


def test_the_last_state_counts(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store.publish("study", "b", {"studies": [study("running", 1, finished=False)]})
    store.publish("study", "a", {"studies": [study("finished", 1, finished=True)]})
    store.publish("trial", "1", {"trials": [trial("x", "finished", 3), trial("y", "pending", 1)]})
    store.publish("trial", "2", {"trials": [trial("x", "running", 2), trial("y", "running", 1)]})
    views = open_views(tmp_path)

    assert views.sql("SELECT state FROM studies")["state"].to_pylist() == ["finished"]
    assert views.sql("SELECT trial_id, state FROM trials ORDER BY 1")["state"].to_pylist() == ["finished", "running"]


def test_repeats_are_recipes_that_differ_in_nothing_but_the_seed(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for model_id, seed, value in (("aaaa", 0, 0.8), ("bbbb", 1, 0.9), ("cccc", 2, 1.0)):
        add_model(store, model_id, metrics={"accuracy": value}, seed=seed)
    add_model(store, "dddd", parent="aaaa", steps=[Step("calibrate")], metrics={"accuracy": 0.5})

    (found,) = open_views(tmp_path).sql("FROM repeats").to_pylist()

    assert (found["metric"], found["seeds"]) == ("accuracy", 3)
    assert found["mean"] == pytest.approx(0.9) and found["std"] == pytest.approx(0.1)
    assert (found["min"], found["max"]) == (0.8, 1.0)


def report(model_id: str, second: int, decision: str, n: int = 128) -> dict[str, object]:
    same = {"name": "net", "study_id": "s", "task_id": TASK, "epoch": 0, "split": "calibration", "metric": "accuracy"}
    at = START.replace(second=second)
    return {**same, "model_id": model_id, "n": n, "value": 0.5, "size_bytes": 1, "decision": decision, "at": at}


def test_a_model_that_was_stopped_early_is_told_from_one_that_was_made_later(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "bbbb")
    rows = [
        report("aaaa", 1, "go"),
        report("aaaa", 2, "stop", n=200),
        report("bbbb", 3, "stop"),
        report("cccc", 4, "go"),
    ]
    store.publish("report", "1", {"reports": rows})

    found = open_views(tmp_path).sql("FROM stopped_early ORDER BY model_id").to_pylist()

    assert [(row["model_id"], row["n"], row["peers"], row["made_since"]) for row in found] == [
        ("aaaa", 200, 0, False), ("bbbb", 128, 2, True),
    ]  # fmt: skip


def test_metrics_stand_side_by_side(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions={"accuracy": "higher", "size_bytes": "lower"})
    add_model(store, "aaaa", metrics={"accuracy": (0.9, 0.8, 1.0)})
    add_model(store, "bbbb", metrics={"size_bytes": 10.0})

    found = open_views(tmp_path).sql("FROM model_metrics ORDER BY model_id").to_pylist()

    assert [row["accuracy"] for row in found] == [0.9, None]
    assert [row["accuracy_low"] for row in found] == [0.8, None]
    assert [row["size_bytes"] for row in found] == [None, 10.0]
    assert [row["size_bytes_high"] for row in found] == [None, None]


def test_of_several_devices_and_slices_the_first_device_over_all_is_shown(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa")
    row = {"model_id": "aaaa", "metric": "latency_p50_ms", "split": "", "slice": "all", "value": 2.0, "ci_low": 1.0}
    rows = [{**row, "device": "gpu"}, {**row, "device": "cpu", "value": 5.0, "ci_low": None}]
    store.publish("latency", "aaaa", {"metrics": [*rows, {**row, "device": "", "slice": "class:0"}]})

    found = open_views(tmp_path).sql("FROM model_metrics").to_pylist()

    assert found == [
        {"model_id": "aaaa", "latency_p50_ms": 5.0, "latency_p50_ms_low": None, "latency_p50_ms_high": None}
    ]


def test_of_several_measurements_one_is_shown_with_its_own_interval(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa")
    measured = [(2.0, 1.0, None), (2.0, None, 3.0), (1.0, None, None)]
    row = {"model_id": "aaaa", "metric": "latency_p50_ms", "split": "", "slice": "all", "device": "cpu"}
    for place, (value, low, high) in enumerate(measured):
        store.publish("latency", f"{place}", {"metrics": [{**row, "value": value, "ci_low": low, "ci_high": high}]})

    found = open_views(tmp_path).sql("FROM model_metrics").to_pylist()

    names = ("latency_p50_ms", "latency_p50_ms_low", "latency_p50_ms_high")
    assert tuple(found[0][name] for name in names) == measured[0]


def test_ancestry_holds_every_distance(tmp_path: Path) -> None:
    views = chain(new_store(tmp_path))

    found = views.sql("SELECT ancestor, distance FROM ancestry WHERE model_id = 'cccc' ORDER BY distance").to_pylist()

    assert [(row["ancestor"], row["distance"]) for row in found] == [("cccc", 0), ("bbbb", 1), ("aaaa", 2)]


def test_a_change_is_against_parent_and_base(tmp_path: Path) -> None:
    found = chain(new_store(tmp_path)).sql("FROM metric_changes ORDER BY model_id").to_pylist()

    assert [(row["value"], row["parent_value"], row["base_value"]) for row in found] == [
        (0.9, None, 0.9),
        (0.8, 0.9, 0.9),
        (0.7, 0.8, 0.9),
    ]


def test_an_edge_names_the_step(tmp_path: Path) -> None:
    found = chain(new_store(tmp_path)).sql("FROM edges ORDER BY child").to_pylist()

    assert [(row["child"], row["parent"], row["operation"]) for row in found] == [
        ("bbbb", "aaaa", "calibrate"),
        ("cccc", "bbbb", "calibrate"),
    ]


def test_pairs_and_flips_are_those_of_numpy(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    labels = [0, 1, 2, 0]
    base, model = np.random.default_rng(0).dirichlet([0.3, 0.3, 0.3], (2, 4)).astype(np.float32)
    add_model(store, "base", labels=labels, probabilities=base.tolist())
    add_model(store, "child", labels=labels, probabilities=model.tolist())
    views = open_views(tmp_path)

    pairs = views.sql("FROM pairs WHERE base_id = 'base' AND model_id = 'child' ORDER BY instance").to_pydict()
    expected = np.sum(base.astype(float) * np.log(base.astype(float) / model.astype(float)), axis=1)
    query = "SELECT kl FROM divergences WHERE base_id = 'base' AND model_id = 'child' ORDER BY instance"
    np.testing.assert_allclose(views.sql(query)["kl"], np.maximum(expected, 0), rtol=1e-4, atol=1e-6)
    right, base_right = model.argmax(1) == labels, base.argmax(1) == labels
    assert pairs["lost"] == (base_right & ~right).tolist()
    assert pairs["gained"] == (~base_right & right).tolist()
    flips = views.sql("SELECT instance FROM flips WHERE base_id = 'base' AND model_id = 'child' ORDER BY instance")
    assert flips["instance"].to_pylist() == np.flatnonzero(base_right != right).tolist()


def test_a_probability_of_zero_leaves_the_divergence_finite(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", labels=[0], probabilities=[[1.0, 0.0, 0.0]])
    add_model(store, "child", labels=[0], probabilities=[[0.0, 1.0, 0.0]])

    found = open_views(tmp_path).sql("SELECT base_id, model_id, kl FROM divergences ORDER BY 1, 2")["kl"].to_pylist()

    assert found == pytest.approx([0.0, 25 * np.log(2), 25 * np.log(2), 0.0])


def test_models_of_different_tasks_are_no_pair(tmp_path: Path) -> None:
    store = new_store(tmp_path, tasks=("one-1", "two-1"))
    add_model(store, "aaaa", task_id="one-1", labels=[0], probabilities=answers([0]))
    add_model(store, "bbbb", task_id="two-1", labels=[0], probabilities=answers([0]))

    found = open_views(tmp_path).sql("SELECT base_id, model_id FROM pairs ORDER BY 1").to_pylist()

    assert found == [{"base_id": "aaaa", "model_id": "aaaa"}, {"base_id": "bbbb", "model_id": "bbbb"}]


def test_work_done_twice_is_counted(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    runs = [("aaaa", "step", "published"), ("aaaa", "step", "discarded"), ("aaaa", "latency", "published"),
            ("bbbb", "step", "failed"), ("bbbb", "step", "published")]  # fmt: skip
    for number, (model_id, kind, outcome) in enumerate(runs):
        row = {"run_id": str(number), "model_id": model_id, "kind": kind, "study_id": "s", "outcome": outcome,
               "node": "n", "process": 1, "started_at": START, "duration_s": 1.0}  # fmt: skip
        store.publish("run", str(number), {"step_runs": [row]})

    assert open_views(tmp_path).sql("FROM repeated_steps").to_pylist() == [
        {"model_id": "aaaa", "kind": "step", "executions": 2, "studies": ["s"]}
    ]


def chain(store: Store) -> Views:
    steps = (Step("calibrate"), Step("calibrate"))
    add_model(store, "aaaa", metrics={"accuracy": 0.9})
    add_model(store, "bbbb", parent="aaaa", steps=steps[:1], metrics={"accuracy": 0.8})
    add_model(store, "cccc", parent="bbbb", steps=steps, metrics={"accuracy": 0.7})
    return open_views(store.root)


def joins(plan: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Of every join what streams, and what is held in memory."""
    if plan["name"].strip().endswith("JOIN"):
        yield tuple(plan["children"])
    for child in plan["children"]:
        yield from joins(child)


def whole_tables(plan: dict[str, Any]) -> Iterator[str]:
    """Large tables that a part of a plan reads without a filter."""
    if "ARROW_SCAN" in plan["name"] and not plan["extra_info"].get("Filters"):
        yield plan["name"]
    for child in plan["children"]:
        yield from whole_tables(child)


@pytest.mark.parametrize("view", ["pairs", "flips", "behaviours", "class_behaviours"])
def test_the_base_is_held_in_memory_and_all_other_models_stream(tmp_path: Path, view: str) -> None:
    store = new_store(tmp_path)
    for model_id in ("aaaa", "bbbb"):
        add_model(store, model_id, labels=[0, 1], probabilities=answers([0, 1]))

    told = open_views(tmp_path).sql(f"EXPLAIN (FORMAT json) FROM {view} WHERE base_id = 'aaaa'")

    found = list(joins(json.loads(told["explain_value"][0].as_py())[0]))
    assert found
    assert [list(whole_tables(held)) for _, held in found] == [[]] * len(found)
