from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cc_ray.compare.layers.activations import activation_changes, linear_cka
from cc_ray.compare.layers.distributions import BINS, activation_distribution, activation_histograms
from cc_ray.recipe import Recipe
from cc_ray.store import Store
from cc_ray.views import open_views
from tests.compare.small import model_row, new_store

Row = dict[str, Any]


def put(
    store: Store, model_id: str, parent: str | None, outputs: Mapping[str, Any], order: list[int], **more: Any
) -> None:
    """Publish a model with the outputs of its modules for instances in this order."""
    rows = [
        {
            "model_id": model_id, "layer": layer, "module": "Linear", "mean": 0.0, "std": 1.0, "zeros": 0.0,
            "histogram": [2, 2], "histogram_edges": [0.0, 1.0, 2.0], "instances": order,
            "shape": list(np.shape(values)), "values": np.ravel(values).tolist(), **more,
        }
        for layer, values in outputs.items()
    ]  # fmt: skip
    about = model_row(model_id, Recipe("net"), len(store.keys("step")))
    edges = [{"child": model_id, "parent": parent, "role": "parent"}] if parent else []
    store.publish("step", model_id, {"models": [about], "lineage": edges, "activations": rows})


def one(store: Store, model: str, base: str) -> dict[str, Row]:
    return {row["path"]: row for row in activation_changes(open_views(store.root), [model], base).to_pylist()}


X = np.array([[1.0, 2.0], [3.0, -1.0], [0.0, 2.0]])


def test_outputs_are_matched_by_instance_and_measured(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    y = X + np.array([[0.5, 0.0], [0.0, 0.0], [0.0, 1.0]])
    put(store, "base", None, {"fc": X}, [10, 11, 12])
    put(store, "child", "base", {"fc": y[::-1]}, [12, 11, 10], isolated_sqnr_db=7.0)

    found = one(store, "child", "base")["fc"]

    noise = np.linalg.norm(X - y)
    assert found["instances"] == 3
    assert found["sqnr_db"] == pytest.approx(20 * np.log10(np.linalg.norm(X) / noise))
    assert found["relative_error"] == pytest.approx(noise / np.linalg.norm(X))
    assert found["mse"] == pytest.approx(1.25 / 6)
    assert found["cosine"] == pytest.approx((X * y).sum() / np.linalg.norm(X) / np.linalg.norm(y))
    assert found["cka"] == pytest.approx(linear_cka(X, y))
    assert (found["isolated_sqnr_db"], found["reason"]) == (7.0, "")
    assert one(store, "base", "child")["fc"]["isolated_sqnr_db"] is None


def test_removed_channels_leave_cka_and_a_reason(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, "base", None, {"fc": X}, [1, 2, 3])
    put(store, "child", "base", {"fc": X[:, :1]}, [1, 2, 3])

    found = one(store, "child", "base")["fc"]

    assert 0 < found["cka"] < 1
    assert [found[name] for name in ("sqnr_db", "cosine", "mse", "relative_error")] == [None] * 4
    assert found["reason"] == "1 channels against 2 of the base"


def test_a_module_of_one_model_only_is_shown_with_nulls(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, "base", None, {"old": X, "both": X}, [1, 2, 3])
    put(store, "child", "base", {"new": X, "both": X}, [1, 2, 3])

    found = one(store, "child", "base")

    assert (found["both"]["sqnr_db"], found["both"]["relative_error"], found["both"]["cka"]) == (
        None,
        0.0,
        pytest.approx(1),
    )
    assert (found["old"]["channels"], found["old"]["base_channels"]) == (None, 2)
    assert (found["new"]["channels"], found["new"]["base_channels"], found["new"]["cka"]) == (2, None, None)
    assert "no such module" in found["old"]["reason"]


def test_cka_does_not_see_rotation_or_scale() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 5))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]

    assert linear_cka(x, 3 * x @ rotation + 1) == pytest.approx(1)
    assert linear_cka(x, np.ones((20, 3))) is None


def test_activations_are_distributed_over_common_bins(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, "a", None, {"fc": X}, [1, 2, 3])
    put(store, "b", "a", {"fc": X}, [1, 2, 3])

    found = activation_distribution(open_views(tmp_path), ["a", "b"], "fc").to_pylist()

    assert len(found) == 2 * BINS
    assert sum(row["count"] for row in found) == pytest.approx(8)
    assert activation_distribution(open_views(tmp_path), ["a"], "gone").num_rows == 0


def test_a_module_of_a_third_model_alone_has_no_row(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, "base", None, {"fc": X}, [1, 2, 3])
    put(store, "child", "base", {"fc": X}, [1, 2, 3])
    put(store, "other", None, {"conv": X}, [1, 2, 3])

    found = activation_changes(open_views(tmp_path), ["child", "other"], "base").to_pylist()

    assert [(row["path"], row["model_id"]) for row in found] == [("conv", "other"), ("fc", "child"), ("fc", "other")]


def test_histograms_of_all_modules_share_bins_by_module(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, "a", None, {"fc.10": X, "fc.9": X, "head": X}, [1, 2, 3])
    wide = {"histogram": [0, 4], "histogram_edges": [0.0, 2.0, 4.0], "zeros": 0.25}
    put(store, "b", "a", {"fc.9": X}, [1, 2, 3], **wide)
    views = open_views(tmp_path)

    found = activation_histograms(views, ["b", "a"]).to_pylist()

    assert [(row["path"], row["model_id"]) for row in found] == [
        ("fc.9", "b"),
        ("fc.9", "a"),
        ("fc.10", "a"),
        ("head", "a"),
    ]
    of_both, of_one = found[1], found[2]
    assert (of_both["edges"][-1], of_one["edges"][-1]) == (4.0, 2.0)
    assert sum(of_both["shares"][: BINS // 2]) == pytest.approx(1)
    assert found[0]["zeros"] == 0.25
    assert activation_histograms(views, ["a", "b"], "fc.9")["model_id"].to_pylist() == ["a", "b"]
    assert activation_histograms(views, ["a"], "f").num_rows == 0
