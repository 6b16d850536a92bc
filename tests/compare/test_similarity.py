from pathlib import Path

import numpy as np
import pytest

from cc_ray.compare.layers.activations import linear_cka
from cc_ray.compare.layers.similarity import layer_similarity
from cc_ray.errors import NotComparableError
from cc_ray.views import open_views
from tests.compare.small import add_model, new_store
from tests.compare.test_activations import X, put

Y = np.array([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0], [3.0, 1.0, 1.0]])


def test_every_layer_is_compared_with_every_layer_by_instance(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, "base", None, {"fc.10": X, "fc.9": Y}, [10, 11, 12])
    put(store, "child", "base", {"fc.9": X[::-1], "head": Y[::-1]}, [12, 11, 10])

    found = layer_similarity(open_views(tmp_path), "child", "base").to_pylist()

    assert [(row["base_path"], row["path"]) for row in found] == [
        ("fc.9", "fc.9"),
        ("fc.9", "head"),
        ("fc.10", "fc.9"),
        ("fc.10", "head"),
    ]
    assert [row["cka"] for row in found] == pytest.approx([linear_cka(Y, X), 1, 1, linear_cka(X, Y)])
    assert {row["instances"] for row in found} == {3}


def test_a_model_is_compared_with_itself(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, "one", None, {"a": X, "b": Y}, [1, 2, 3])

    found = layer_similarity(open_views(tmp_path), "one", "one")["cka"].to_pylist()

    assert found == pytest.approx([1, linear_cka(X, Y), linear_cka(X, Y), 1])


def test_only_instances_that_both_models_have_count(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, "base", None, {"a": X}, [1, 2, 3])
    put(store, "other", "base", {"a": X[1:]}, [2, 3])
    put(store, "strange", "base", {"a": X}, [7, 8, 9])
    views = open_views(tmp_path)

    assert layer_similarity(views, "other", "base")["instances"].to_pylist() == [2]
    assert layer_similarity(views, "strange", "base").to_pylist()[0]["cka"] is None


def test_outputs_that_say_nothing_have_no_similarity(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    constant, broken = np.ones((3, 2)), np.full((3, 2), np.nan)
    put(store, "base", None, {"a": X, "constant": constant, "broken": broken}, [1, 2, 3])

    found = layer_similarity(open_views(tmp_path), "base", "base").to_pylist()

    assert [row["path"] for row in found if row["cka"] is not None] == ["a"]


def test_without_activations_there_is_nothing_to_compare(tmp_path: Path) -> None:
    store = new_store(tmp_path, tasks=("digits-1", "other-1"))
    put(store, "base", None, {"a": X}, [1, 2, 3])
    add_model(store, "bare", parent="base")
    add_model(store, "foreign", task_id="other-1")
    views = open_views(tmp_path)

    assert layer_similarity(views, "bare", "base").num_rows == 0
    with pytest.raises(NotComparableError):
        layer_similarity(views, "foreign", "base")
