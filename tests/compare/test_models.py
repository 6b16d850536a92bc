from pathlib import Path

import pytest

import cc_ray
from cc_ray.compare import (
    answering,
    findings,
    metric_definitions,
    models,
    repeated_steps,
    show,
    studies,
    trials,
    with_activations,
    with_layers,
)
from cc_ray.errors import ModelNotFoundError
from cc_ray.recipe import Step
from cc_ray.views import Views, open_views
from tests.benchmarks.make_store import make_store
from tests.compare.small import START, TASK, add_model, new_store


@pytest.fixture
def family(tmp_path: Path) -> Views:
    """A base model, its child and its grandchild."""
    store = new_store(tmp_path, directions={"size_bytes": "lower", "accuracy": "higher", "loss": "lower"})
    prune, tune = Step("prune", {"sparsity": 0.5}), Step("tune")
    add_model(store, "aaaa", metrics={"accuracy": (0.9, 0.8, 1.0), "size_bytes": 100.0})
    warning = {"check": "nothing_changed", "severity": "warning", "message": "no weight changed"}
    error = {"check": "nan", "severity": "error", "message": "NaN", "found": 1.0}
    add_model(store, "bbbb", parent="aaaa", steps=[prune], metrics={"accuracy": 0.7}, findings=[warning, error])
    add_model(store, "cccc", parent="bbbb", steps=[prune, tune], metrics={"accuracy": 0.8, "unheard_of": 1.0})
    return open_views(tmp_path)


def test_a_model_is_a_row_with_its_place_and_metrics(family: Views) -> None:
    found = models(family)

    assert found.column_names[:8] == [
        "model_id", "name", "base", "operation", "parameters", "step_index", "parent", "root"
    ]  # fmt: skip
    assert found["model_id"].to_pylist() == ["aaaa", "bbbb", "cccc"]
    assert found["parent"].to_pylist() == [None, "aaaa", "bbbb"]
    assert found["root"].to_pylist() == ["aaaa"] * 3
    assert found["operation"].to_pylist() == [None, "prune", "tune"]
    assert found["accuracy"].to_pylist() == [0.9, 0.7, 0.8]
    assert found["accuracy_high"].to_pylist() == [1.0, None, None]


def test_models_of_which_something_is_recorded_are_told_from_others(tmp_path: Path) -> None:
    views = open_views(make_store(tmp_path / "whole", models=4, instances=20).root)
    ids = models(views)["model_id"].to_pylist()[:2]
    bare = cc_ray.open(tmp_path / "bare", create=True)
    alone = bare.log_model("net", task="t", metrics={"accuracy": 0.9})

    for having in (answering, with_layers, with_activations):
        assert having(views, ids[::-1]) == ids[::-1]
        assert having(open_views(tmp_path / "bare"), [alone]) == []


def test_primary_metrics_come_first_and_unmeasured_ones_are_there(family: Views) -> None:
    found = models(family)

    names = [name for name in found.column_names if name in {"accuracy", "size_bytes", "loss", "unheard_of"}]
    assert names == ["unheard_of", "accuracy", "loss", "size_bytes"]
    assert found["loss"].null_count == 3
    assert metric_definitions(family)["metric"].to_pylist() == ["accuracy", "loss", "size_bytes"]


def test_a_store_without_models_has_no_rows(tmp_path: Path) -> None:
    found = models(open_views(new_store(tmp_path).root))

    assert found.num_rows == 0
    assert "accuracy_low" in found.column_names


def test_a_parent_that_is_not_in_the_store_makes_a_root(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "bbbb", parent="lost", steps=[Step("tune")])

    row = models(open_views(tmp_path)).to_pylist()[0]

    assert (row["parent"], row["root"]) == (None, "bbbb")


def test_a_card_shows_a_model_among_its_relatives(family: Views) -> None:
    card = show(family, "bbbb")

    assert card.model == models(family).to_pylist()[1]
    assert card.ancestors["model_id"].to_pylist() == ["aaaa"]
    assert card.children["model_id"].to_pylist() == ["cccc"]
    assert card.findings["severity"].to_pylist() == ["error", "warning"]


def test_a_card_compares_with_parent_and_base(family: Views) -> None:
    metrics = {row["metric"]: row for row in show(family, "cccc").metrics.to_pylist()}

    accuracy = metrics["accuracy"]
    assert (accuracy["parent_value"], accuracy["base_value"]) == (0.7, 0.9)
    assert accuracy["parent_difference"] == pytest.approx(0.1)
    assert accuracy["base_difference"] == pytest.approx(-0.1)
    assert metrics["unheard_of"]["label"] == "unheard_of"
    assert metrics["unheard_of"]["parent_difference"] is None


def test_a_base_model_has_no_parent_to_compare_with(family: Views) -> None:
    card = show(family, "aaaa")
    accuracy = card.metrics.to_pylist()[0]

    assert card.ancestors.num_rows == 0
    assert (accuracy["low"], accuracy["high"], accuracy["parent_value"]) == (0.8, 1.0, None)
    assert accuracy["base_difference"] == 0.0


def test_an_unknown_model_has_no_card(family: Views) -> None:
    with pytest.raises(ModelNotFoundError):
        show(family, "zzzz")


def test_findings_are_of_all_models_or_of_some(family: Views) -> None:
    assert findings(family).num_rows == 2
    assert findings(family, ["bbbb"])["check"].to_pylist() == ["nan", "nothing_changed"]
    assert findings(family, ["aaaa", "cccc"]).num_rows == 0


def test_a_study_counts_its_trials(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    study = {"study_id": "s", "state": "finished", "task_id": TASK, "search_space": "{}", "objectives": "{}",
             "started_at": START, "code_version": "0", "environment": "{}", "at": START}  # fmt: skip
    store.publish("study", "1", {"studies": [study, {**study, "study_id": "empty"}]})
    trial = {"study_id": "s", "recipe": "{}", "recipe_text": "net", "duration_s": 1.0, "at": START}
    made = {"state": "finished", "steps_reused": 1, "steps_run": 2, "model_id": "aaaa"}
    lost = {"state": "failed", "steps_reused": 1, "steps_run": 0, "reason": "NaN", "failed_step": "tune()"}
    rows = [{**trial, **made, "trial_id": "x"}, {**trial, **made, "trial_id": "y"}, {**trial, **lost, "trial_id": "z"}]
    store.publish("trial", "1", {"trials": rows})
    views = open_views(tmp_path)

    found = {row["study_id"]: row for row in studies(views).to_pylist()}

    counted = ("trials", "finished", "failed", "running", "models", "steps_run", "steps_reused")
    assert [found["s"][name] for name in counted] == [3, 2, 1, 0, 1, 4, 3]
    assert [found["empty"][name] for name in counted] == [0] * 7
    assert trials(views, "s")["trial_id"].to_pylist() == ["x", "y", "z"]
    assert trials(views, "empty").num_rows == 0


def test_a_repeated_step_is_named_where_its_model_is_there(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa")
    run = {"kind": "step", "study_id": "s", "outcome": "published", "node": "n", "process": 1, "started_at": START,
           "duration_s": 1.0}  # fmt: skip
    rows = [{**run, "run_id": f"{model_id}{i}", "model_id": model_id} for model_id in ("aaaa", "bbbb") for i in (1, 2)]
    store.publish("run", "1", {"step_runs": rows})

    found = repeated_steps(open_views(tmp_path)).to_pylist()

    assert [(row["model_id"], row["name"], row["executions"]) for row in found] == [
        ("aaaa", "net", 2),
        ("bbbb", None, 2),
    ]


def test_a_value_is_compared_with_the_parents_on_the_same_device(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions={"latency_p50_ms": "lower"})
    add_model(store, "parent")
    add_model(store, "child", parent="parent", steps=[Step("prune")])
    row = {"metric": "latency_p50_ms", "split": "", "slice": "all"}
    for model_id, times in {"parent": {"fast": 1.0, "slow": 8.0}, "child": {"slow": 4.0}}.items():
        measured = [{**row, "model_id": model_id, "device": device, "value": ms} for device, ms in times.items()]
        store.publish("latency", model_id, {"metrics": measured})

    (metric,) = show(open_views(tmp_path), "child").metrics.to_pylist()

    assert (metric["value"], metric["parent_value"], metric["base_value"]) == (4.0, 8.0, 8.0)
