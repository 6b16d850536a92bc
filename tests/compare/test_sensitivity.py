from pathlib import Path
from typing import Any

import pytest

from cc_ray.compare.layers.sensitivity import sensitivity
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import open_views
from tests.compare.small import START, TASK, add_model, new_store


def prune(store: Store, model_id: str, accuracy: float, parent: str = "base", **parameters: Any) -> None:
    step = Step("magnitude_pruning", parameters)
    add_model(store, model_id, parent=parent, steps=[step], metrics={"accuracy": (accuracy, accuracy - 0.1, accuracy)})


def test_siblings_that_differ_in_target_and_level_are_a_curve_each(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", metrics={"accuracy": 0.9})
    prune(store, "a1", 0.8, include=["a"], sparsity=0.9)
    prune(store, "a0", 0.85, include=["a"], sparsity=0.5)
    prune(store, "b0", 0.6, include=["b"], sparsity=0.5)
    prune(store, "whole", 0.1, sparsity=0.5)
    prune(store, "other", 0.2, include=["c"], sparsity=0.5, scope="layer")

    found = sensitivity(open_views(tmp_path), "accuracy").to_pylist()

    assert [(row["pattern"], row["level"], row["value"]) for row in found] == [
        ("a", 0.5, 0.85),
        ("a", 0.9, 0.8),
        ("b", 0.5, 0.6),
    ]
    assert found[0]["difference"] == pytest.approx(-0.05)
    assert (found[0]["parameter"], found[0]["ci_low"], found[0]["parent"]) == ("sparsity", 0.75, "base")


def test_only_the_models_asked_for_count(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", metrics={"accuracy": 0.9})
    for name in ("a", "b", "c"):
        prune(store, name, 0.8, include=[name], bits=4)

    found = sensitivity(open_views(tmp_path), "accuracy", ["a", "c"])

    assert found["pattern"].to_pylist() == ["a", "c"]


def test_a_store_without_such_siblings_has_an_empty_answer(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", metrics={"accuracy": 0.9})
    prune(store, "one", 0.8, include=["a"], sparsity=0.5)

    assert sensitivity(open_views(tmp_path), "accuracy").num_rows == 0
    assert sensitivity(open_views(tmp_path), "unheard").num_rows == 0


def alone(
    store: Store, layer: str, level: float | None, value: float | None, model_id: str = "base", **more: Any
) -> None:
    """What was measured of a layer that was compressed alone."""
    row = {
        "model_id": model_id,
        "task_id": TASK,
        "operation": "magnitude_pruning",
        "parameters": "{}",
        "layer": layer,
        "parameter": "sparsity",
        "level": level,
        "metric": "accuracy",
        "value": value,
        "model_value": 0.9,
        "difference": None if value is None else value - 0.9,
        "weight_sqnr_db": 10.0,
        "output_sqnr_db": 20.0,
        "seed": 0,
        "reason": "no channels" if value is None else None,
        "duration_s": 0.1,
        "at": START,
        **more,
    }
    store.publish("sensitivity", f"{model_id}-{layer}-{level}", {"sensitivity": [row]})


def test_layers_compressed_alone_stand_beside_models_and_a_place_is_one_row(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", metrics={"accuracy": 0.9})
    add_model(store, "other", metrics={"accuracy": 0.9})
    prune(store, "a0", 0.85, include=["a"], sparsity=0.5)
    prune(store, "b0", 0.6, include=["b"], sparsity=0.5)
    alone(store, "a", 0.5, 0.85)
    alone(store, "c", 0.5, 0.7)
    alone(store, "d", 0.5, None)
    alone(store, "a", 0.5, 0.5, model_id="other")
    alone(store, "a", 0.4, 0.6, split="calibration")
    views = open_views(tmp_path)

    found = sensitivity(views, "accuracy").to_pylist()

    assert [(row["parent"], row["pattern"], row["model_id"], row["value"]) for row in found] == [
        ("base", "a", "a0", 0.85),
        ("base", "b", "b0", 0.6),
        ("base", "c", None, 0.7),
        ("base", "d", None, None),
        ("other", "a", None, 0.5),
    ]
    assert [row["output_sqnr_db"] for row in found] == [20.0, None, 20.0, 20.0, 20.0]
    assert found[3]["reason"] == "no channels"
    assert [row["value"] for row in sensitivity(views, "accuracy", split="calibration").to_pylist()] == [0.6]
    assert [row["pattern"] for row in sensitivity(views, "accuracy", ["base"]).to_pylist()] == ["a", "c", "d"]
