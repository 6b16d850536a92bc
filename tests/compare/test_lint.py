from pathlib import Path
from typing import Any

import pytest

from cc_ray.compare import findings, lint
from cc_ray.errors import ModelNotFoundError
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import open_views
from tests.benchmarks.make_store import make_store
from tests.compare.small import add_model, new_store

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

    found = noticed(store)

    assert {row["model_id"] for row in found} == {name for name, (*_, differs) in CLAIMS.items() if differs}
    assert {row["check"] for row in found} == {"sparsity_differs"}


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
