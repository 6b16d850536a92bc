import json
from pathlib import Path
from typing import Any

import pytest

from cc_ray.compare import findings, lint
from cc_ray.errors import ModelNotFoundError
from cc_ray.imports.compress_and_compare import import_results
from cc_ray.recipe import Recipe, Step
from cc_ray.store import Store
from cc_ray.views import open_views
from tests.benchmarks.make_store import make_store
from tests.compare.small import START, TASK, add_model, answers, model_row, new_store

REAL = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "compress_and_compare"
PRUNE = Step("magnitude_pruning", {"sparsity": 0.5})
SAVED, OTHER = "a" * 64, "b" * 64


def noticed(store: Store, *ids: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lint(open_views(store.root), ids or None).to_pylist()
    return found


def pairs(store: Store) -> list[tuple[str, str]]:
    return [(row["model_id"], row["check"]) for row in noticed(store)]


def test_a_child_with_its_parents_metrics(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", metrics={"accuracy": 0.9, "size": 5.0})
    add_model(store, "same", parent="aaaa", steps=[Step("tune")], metrics={"accuracy": 0.9, "size": 5.0})
    add_model(store, "part", parent="aaaa", steps=[Step("tune")], metrics={"accuracy": 0.9, "size": 4.0})
    add_model(store, "more", parent="aaaa", steps=[Step("tune")], metrics={"accuracy": 0.9, "size": 5.0, "x": 1.0})

    assert [model for model, check in pairs(store) if check == "same_metrics_as_parent"] == ["same"]


def test_a_child_with_its_parents_file(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", artifact=SAVED)
    add_model(store, "same", parent="aaaa", steps=[Step("tune")], artifact=SAVED)
    add_model(store, "bbbb", parent="aaaa", steps=[Step("tune")], artifact=OTHER)

    assert pairs(store) == [("same", "same_weights_as_parent")]


def test_models_without_a_file_do_not_share_one(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa")
    add_model(store, "bbbb", parent="aaaa", steps=[Step("tune")])

    assert pairs(store) == []


def test_a_metric_that_siblings_have(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", metrics={"accuracy": 0.9})
    add_model(store, "bbbb", parent="aaaa", steps=[Step("tune")], metrics={"accuracy": 0.8, "size": 5.0})
    add_model(store, "cccc", parent="aaaa", steps=[Step("tune")], metrics={"accuracy": 0.7, "size": 6.0})
    add_model(store, "dddd", parent="aaaa", steps=[Step("tune")], metrics={"accuracy": 0.6, "size": float("nan")})

    (row,) = noticed(store)

    assert (row["model_id"], row["check"]) == ("dddd", "metric_missing")
    assert row["message"].startswith("size is missing, though 2 other models")


def test_a_metric_outside_its_range(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    row = {"unit": "", "direction": "none", "primary": False, "format": "number", "label": "x", "meaning": "x"}
    definition = {**row, "metric": "x", "min": 0.0, "max": 1.0}
    store.publish("task", "more", {"metric_definitions": [definition]})
    add_model(store, "fine", metrics={"x": 1.0 + 1e-12})
    add_model(store, "high", metrics={"x": 1.5})
    add_model(store, "lowe", metrics={"x": -1.0})

    found = noticed(store)

    assert [(row["model_id"], row["expected"], row["found"]) for row in found] == [
        ("high", 1.0, 1.5), ("lowe", 0.0, -1.0)
    ]  # fmt: skip
    assert {row["severity"] for row in found} == {"error"}
    assert found[0]["message"] == "x of all is outside its range: 1.5 is above 1."


CLAIMS = {
    "as claimed": (0.0, 0.5, 0.5, False),
    "nearly": (0.0, 0.5, 0.49, False),
    "less": (0.0, 0.5, 0.2, True),
    "of the rest": (0.5, 0.5, 0.75, False),
    "sparser parent": (0.8, 0.5, 0.8, False),
    "more": (0.5, 0.5, 0.95, True),
    "a count": (0.0, 300, 0.1, False),
}
"""Sparsity of the parent, claimed, real; and whether they differ."""


def test_claimed_against_real_sparsity(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for name, (before, claimed, real, _) in CLAIMS.items():
        add_model(store, f"before {name}".replace(" ", "-"), metrics={"sparsity": before})
        steps = [Step("prune", {"amount": claimed})]
        metrics = {"sparsity": real, "accuracy": 0.5}
        add_model(
            store, name.replace(" ", "-"), parent=f"before-{name}".replace(" ", "-"), steps=steps, metrics=metrics
        )

    found = [row for row in noticed(store) if row["check"] == "sparsity_differs"]

    assert {row["model_id"] for row in found} == {name for name, (*_, differs) in CLAIMS.items() if differs}


def test_stored_findings_come_with_it_gravest_first(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    texts = {"info": "fine", "warning": "odd", "error": "broken"}
    found = [{"check": "c", "severity": kind, "message": text, "layer": "fc"} for kind, text in texts.items()]
    add_model(store, "aaaa", findings=found)

    assert [(row["severity"], row["message"]) for row in noticed(store)] == [
        ("error", "fc: broken"), ("warning", "fc: odd")
    ]  # fmt: skip


def test_only_the_models_asked_for(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for model_id in ("aaaa", "bbbb"):
        add_model(store, model_id, findings=[{"check": "c", "severity": "error", "message": "broken"}])

    assert [row["model_id"] for row in noticed(store, "bbbb")] == ["bbbb"]
    with pytest.raises(ModelNotFoundError):
        noticed(store, "cccc")


def test_a_store_without_models_has_nothing_wrong(tmp_path: Path) -> None:
    found = lint(open_views(new_store(tmp_path).root))

    assert found.column_names == ["model_id", "name", "check", "severity", "message", "expected", "found"]
    assert found.num_rows == 0


def test_where_layers_were_measured_the_claim_was_judged_before(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    layer = {"layer": "fc", "shape": [2], "parameters": 2, "zeros": 0}
    add_model(store, "aaaa", steps=[PRUNE], metrics={"sparsity": 0.1}, layers=[layer])

    assert noticed(store) == []


def test_findings_of_a_generated_store_come_through(tmp_path: Path) -> None:
    views = open_views(make_store(tmp_path, models=12, instances=20).root)

    stored = [row["check"] for row in findings(views).to_pylist() if row["severity"] != "info"]
    assert lint(views)["check"].to_pylist() == stored


def only(store: Store, check: str) -> list[str]:
    return [model for model, noted in pairs(store) if noted == check]


def measure(store: Store, key: str, *values: dict[str, Any]) -> None:
    """Publish measurements beside those of the model's step."""
    row = {"split": "", "slice": "all", "device": ""}
    store.publish("latency", key, {"metrics": [{**row, **value} for value in values]})


def define(store: Store, metric: str, **more: Any) -> None:
    row = {"label": metric, "unit": "", "direction": "lower", "primary": True, "format": "number", "meaning": metric}
    store.publish("task", metric, {"metric_definitions": [{**row, "metric": metric, **more}]})


def test_two_measurements_that_differ_more_than_their_noise(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for model_id in ("part", "near", "bare", "same"):
        add_model(store, model_id, metrics={"accuracy": 0.9})
    for times, (apart, near, bare) in enumerate(((1.0, 1.0, 1.0), (2.0, 1.15, 1.001))):
        values = {"part": (apart, 0.1), "near": (near, 0.1)}
        rows = [
            {"model_id": id, "metric": "latency", "value": value, "ci_low": value - half, "ci_high": value + half}
            for id, (value, half) in values.items()
        ]
        rows += [{"model_id": "bare", "metric": "latency", "value": bare}]
        measure(store, f"t{times}", *rows, {"model_id": "same", "metric": "latency", "value": 3.0})

    assert sorted(only(store, "measurements_differ")) == ["bare", "part"]


def test_another_device_is_another_measurement(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa")
    rows = [{"model_id": "aaaa", "metric": "x", "value": at, "device": name} for at, name in enumerate(("cpu", "gpu"))]
    measure(store, "t", *rows)

    assert only(store, "measurements_differ") == []


def test_accuracy_that_the_predictions_contradict(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for model_id, accuracy in {"true": 0.5, "lies": 0.9}.items():
        add_model(store, model_id, metrics={"accuracy": accuracy}, labels=[0, 1], probabilities=answers([0, 0]))

    (row,) = [row for row in noticed(store) if row["check"] == "predictions_contradict_accuracy"]

    assert (row["model_id"], row["expected"], row["found"]) == ("lies", 0.5, 0.9)


def test_predictions_that_others_have(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", labels=[0], probabilities=answers([0]))
    add_model(store, "bbbb", parent="aaaa", steps=[Step("tune")])

    assert only(store, "predictions_missing") == ["bbbb"]


def test_values_that_cannot_be(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "endless", metrics={"loss": float("inf")})
    add_model(store, "outside", metrics={"loss": (3.0, 1.0, 2.0)})
    add_model(store, "inside", metrics={"loss": (1.5, 1.0, 2.0)})

    assert only(store, "metric_not_finite") == ["endless"]
    assert only(store, "interval_misses_value") == ["outside"]


def test_metrics_that_contradict_each_other(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "count", metrics={"num_nonzero_parameters": 11.0, "num_parameters": 10.0})
    add_model(store, "slow", metrics={"latency_p50_ms": 2.0, "latency_p90_ms": 1.0})
    add_model(store, "first", metrics={"top_1_accuracy": 0.9, "top_5_accuracy": 0.8})
    fine = {"num_nonzero_parameters": 9.0, "num_parameters": 10.0, "top_1_accuracy": 0.5, "top_5_accuracy": 0.5}
    add_model(store, "fine", metrics=fine)

    assert sorted(only(store, "metrics_contradict")) == ["count", "first", "slow"]


def test_repeats_that_vary_more_than_they_last(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "wild", metrics={"latency_mean_s": 2.0, "latency_std_s": 3.0})
    add_model(store, "calm", metrics={"latency_mean_s": 2.0, "latency_std_s": 0.1})

    assert only(store, "spread_exceeds_mean") == ["wild"]


def test_what_layers_say_against_metrics_and_claims(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    layer = {"layer": "fc", "shape": [20, 10], "parameters": 200, "zeros": 100, "l1": 1.0}
    add_model(store, "true", metrics={"sparsity": 0.5}, layers=[layer])
    add_model(store, "lies", metrics={"sparsity": 0.9}, layers=[layer])
    quantize = [Step("quantize", {"bits": 4})]
    add_model(store, "wide", steps=quantize, layers=[{**layer, "effective_bits": 32.0}])
    add_model(store, "slim", steps=quantize, layers=[{**layer, "effective_bits": 4.5}])
    add_model(store, "nans", layers=[{**layer, "l2": float("nan")}])

    assert only(store, "sparsity_contradicts_layers") == ["lies"]
    assert only(store, "bits_differ") == ["wide"]
    assert only(store, "weights_not_finite") == ["nans"]


@pytest.mark.parametrize(
    ("parameters", "zeros", "noted"),
    [({}, 0, ["prun"]), ({"exclude": ["b"]}, 0, []), ({}, 50, [])],
    ids=["left out", "excluded", "sparse already"],
)
def test_layers_that_a_step_left_out(tmp_path: Path, parameters: dict[str, Any], zeros: int, noted: list[str]) -> None:
    store = new_store(tmp_path)
    row = {"shape": [20, 10], "parameters": 200}
    layers = [
        {**row, "layer": "a", "zeros": 100, "relative_change": 0.3},
        {**row, "layer": "b", "zeros": zeros, "relative_change": 0.0},
    ]
    add_model(store, "prun", steps=[Step("magnitude_pruning", parameters)], layers=layers)

    assert only(store, "layers_skipped") == noted


def test_a_file_that_compression_made_larger(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    define(store, "size_bytes", unit="bytes")
    add_model(store, "aaaa", metrics={"size_bytes": 1000.0})
    for name, operation, size in (("grew", "quantize", 1200.0), ("less", "quantize", 500.0), ("tune", "tune", 1200.0)):
        add_model(store, name, parent="aaaa", steps=[Step(operation)], metrics={"size_bytes": size})

    assert only(store, "size_grew") == ["grew"]


def test_a_metric_that_is_one_value_for_all_models(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions={"f1": "higher", "accuracy": "higher", "parameters": "lower"})
    for at, model_id in enumerate(("aaaa", "bbbb", "cccc")):
        add_model(store, model_id, metrics={"f1": 1.0, "accuracy": 0.9 + at / 100, "parameters": 5.0})

    (row,) = [row for row in noticed(store) if row["check"] == "metric_constant"]

    assert (row["model_id"], row["found"]) == ("aaaa", 1.0)
    assert row["message"].startswith("f1 is 1 for all 3 models")


UNITS = {
    "share": ({"format": "percent", "direction": "higher"}, 91.0, "divide it by 100"),
    "size_kb": ({"unit": "bytes"}, 5.0, "a larger unit"),
    "size_mb": ({"unit": "bytes"}, 500.5, "has fractions"),
    "model_size": ({}, 500.0, "has no unit"),
    "size_bytes": ({"unit": "bytes"}, 500.0, None),
    "f1": ({"format": "percent", "direction": "higher"}, 0.9, None),
}


@pytest.mark.parametrize("metric", list(UNITS))
def test_units_that_the_values_contradict(tmp_path: Path, metric: str) -> None:
    definition, value, complaint = UNITS[metric]
    store = new_store(tmp_path)
    define(store, metric, **definition)
    add_model(store, "aaaa", metrics={metric: value})

    messages = [row["message"] for row in noticed(store) if row["check"] == "unit_contradicts_values"]

    assert len(messages) == (complaint is not None)
    assert all(str(complaint) in message for message in messages)


@pytest.mark.parametrize(
    ("parameters", "leaks"),
    [({"data": "test data"}, True), ({"calibration_split": "validation"}, True), ({"data": "train data"}, False),
     ({"data": "latest"}, False), ({"note": "test"}, False)],
)  # fmt: skip
def test_a_step_that_was_given_evaluation_data(tmp_path: Path, parameters: dict[str, Any], leaks: bool) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa", steps=[Step("calibrate", parameters)])

    assert only(store, "evaluation_data_used") == ["aaaa"] * leaks


def test_oddities_of_the_prototypes_own_results(tmp_path: Path) -> None:
    file = REAL / "cifar10_resnet20.json"
    if not file.exists():
        pytest.skip("the prototype's result files are not beside the project")
    store = Store(tmp_path, create=True)
    import_results(store, file)

    found = {row["check"]: row["message"] for row in noticed(store)}

    assert set(found) == {"spread_exceeds_mean", "unit_contradicts_values"}
    assert found["unit_contradicts_values"].startswith("model_size has no unit")
    assert found["spread_exceeds_mean"].startswith("batch_latency_std_s is 35.2975, more than batch_latency_mean_s")


def test_a_step_that_reads_evaluation_data_is_named_at_all_that_came_of_it(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    edges = {"base": [], "peek": [("parent", "base")], "tune": [("parent", "peek")], "lent": [("parent", "base")]}
    edges["lent"].append(("donor", "tune"))
    for place, (model_id, older) in enumerate(edges.items()):
        recipe = Recipe("net", (Step(model_id),) if older else ())
        used = {"peek": ["calibration", "evaluation"], "base": ["train"]}.get(model_id)
        row = model_row(model_id, recipe, place) | {"data_used": used}
        lineage = [{"child": model_id, "parent": parent, "role": role} for role, parent in older]
        store.publish("step", model_id, {"models": [row], "lineage": lineage})

    found = [row for row in noticed(store) if row["check"] == "evaluation_data_used"]

    assert [row["severity"] for row in found] == ["error"] * 3
    told = {row["model_id"]: row["message"] for row in found}
    assert told["peek"].startswith('peek read the split "evaluation": what a model is measured on must not make it')
    assert told["tune"].startswith('it was made from peek, and there peek read the split "evaluation"')
    assert told["lent"] == told["tune"]


def test_training_that_reads_evaluation_data(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    row = model_row("base", Recipe("net")) | {"data_used": ["evaluation", "train"]}
    store.publish("step", "base", {"models": [row]})

    assert [row["message"].partition(":")[0] for row in noticed(store)] == ['training net read the split "evaluation"']


def test_splits_that_overlap(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    splits = {"train": {"instances": 90, "in_evaluation": 2}, "calibration": {"instances": 5, "in_evaluation": 0}}
    task = {"task_id": TASK, "task": "digits", "parameters": "{}", "class_names": [], "bases": ["net"]}
    store.publish("task", TASK, {"tasks": [{**task, "splits": json.dumps(splits), "created_at": START}]})
    add_model(store, "aaaa")
    add_model(store, "bbbb", parent="aaaa", steps=[Step("tune")])

    (row,) = noticed(store)

    assert (row["model_id"], row["check"], row["severity"], row["found"]) == ("aaaa", "splits_overlap", "error", 2)
    assert row["message"].startswith('2 of the 90 instances of the split "train" are in the evaluation split too')
