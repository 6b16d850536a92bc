from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cc_ray.compare import layer_tree, most_changed_layers
from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.store.artifacts import save_model
from cc_ray.views import open_views
from tests.compare.small import NO_ARTIFACT, TASK, add_model, new_store

Row = dict[str, Any]
Values = NDArray[np.float32]


def described(layer: str, values: Any, parent: Any = None) -> Row:
    """A row of `layers` as measuring gives it."""
    now = np.asarray(values, float)
    before = np.asarray([] if parent is None else parent, float)
    same = before.shape == now.shape
    return {
        "layer": layer,
        "shape": list(now.shape),
        "parameters": now.size,
        "zeros": int((now == 0).sum()),
        "l1": float(np.abs(now).sum()),
        "l2": float(np.linalg.norm(now)),
        "relative_change": float(np.linalg.norm(now - before) / np.linalg.norm(before)) if same else None,
        "reshaped": parent is not None and not same,
    }


def by_path(store: Store, model: str, base: str) -> dict[str, Row]:
    found = layer_tree(open_views(store.root), [model], base).to_pylist()
    return {row["path"]: row for row in found if row["model_id"] == model}


BASE = {"body.0.fc": [3.0, 4.0, 0.0, 0.0], "body.10.fc": [1.0, 1.0], "body.9.fc": [2.0, 2.0], "head": [5.0, 12.0]}
CHILD = {"body.0.fc": [3.0, 0.0, 0.0, 0.0], "body.10.fc": [1.0, 1.0], "body.9.fc": [2.0, 0.0], "head": [5.0, 12.0]}


def parent_and_child(root: Path) -> Store:
    store = new_store(root)
    add_model(store, "base", layers=[described(path, values) for path, values in BASE.items()])
    layers = [described(path, values, BASE[path]) for path, values in CHILD.items()]
    add_model(store, "child", parent="base", steps=[Step("prune")], layers=layers)
    return store


def test_inner_modules_are_sums_over_all_below_them(tmp_path: Path) -> None:
    tree = by_path(parent_and_child(tmp_path), "child", "base")

    assert list(tree) == ["", "body", "body.0", "body.0.fc", "body.9", "body.9.fc", "body.10", "body.10.fc", "head"]
    assert [(tree[path]["parameters"], tree[path]["zeros"]) for path in ("", "body", "body.0")] == [
        (10, 4), (8, 4), (4, 3)
    ]  # fmt: skip
    assert tree[""]["sparsity"] == 0.4
    assert tree[""]["base_sparsity"] == 0.2
    assert tree["body.0.fc"]["mean_absolute"] == 3 / 4
    assert tree["head"]["effective_bits"] == 32


def test_a_row_says_where_it_stands(tmp_path: Path) -> None:
    tree = by_path(parent_and_child(tmp_path), "child", "base")

    assert [(tree[path]["parent"], tree[path]["name"], tree[path]["depth"]) for path in ("", "body", "body.0.fc")] == [
        (None, "", 0), ("", "body", 1), ("body.0", "fc", 3)
    ]  # fmt: skip
    assert [(tree[path]["leaf"], tree[path]["module"]) for path in ("body", "head")] == [(False, ""), (True, "Linear")]


def test_change_against_the_parent_comes_from_the_tables(tmp_path: Path) -> None:
    tree = by_path(parent_and_child(tmp_path), "child", "base")

    assert tree["body.0.fc"]["relative_change"] == pytest.approx(4 / 5)
    assert tree["body.0.fc"]["sqnr_db"] == pytest.approx(-20 * np.log10(4 / 5))
    whole, before = (np.concatenate(list(values.values())) for values in (CHILD, BASE))
    assert tree[""]["relative_change"] == pytest.approx(np.linalg.norm(whole - before) / np.linalg.norm(before))
    assert (tree["head"]["relative_change"], tree["head"]["sqnr_db"]) == (0, None)


def test_zeros_of_both_come_from_the_tables_where_one_has_none(tmp_path: Path) -> None:
    tree = by_path(parent_and_child(tmp_path), "child", "base")

    zeros = ("zeros_both", "zeros_base_only", "zeros_model_only")
    assert [tree["body.9.fc"][name] for name in zeros] == [0, 0, 1]
    assert [tree["body.0.fc"][name] for name in zeros] == [None] * 3
    assert [tree[""][name] for name in zeros] == [None] * 3


def test_the_base_is_among_the_rows_and_does_not_differ_from_itself(tmp_path: Path) -> None:
    views = open_views(parent_and_child(tmp_path).root)

    found = layer_tree(views, ["child"], "base").to_pylist()

    assert [row["model_id"] for row in found[:2]] == ["base", "child"]
    assert (found[0]["relative_change"], found[0]["zeros_both"], found[0]["zeros_model_only"]) == (0, 2, 0)
    assert layer_tree(views, ["base"], "base").num_rows == len(found) / 2


def test_tensors_of_another_shape_are_shown_as_unmatched(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "base", layers=[described("a", [1.0, 2.0]), described("b", [1.0])])
    layers = [described("a", [1.0], [1.0, 2.0]), described("b", [2.0], [1.0]), described("new", [0.0])]
    add_model(store, "child", parent="base", steps=[Step("shrink")], layers=layers)

    tree = by_path(store, "child", "base")

    assert (tree["a"]["unmatched_parameters"], tree["a"]["relative_change"], tree["a"]["base_parameters"]) == (
        1,
        None,
        2,
    )
    assert (tree["new"]["unmatched_parameters"], tree["new"]["base_parameters"]) == (1, None)
    assert (tree[""]["unmatched_parameters"], tree[""]["relative_change"]) == (2, 1.0)


def test_the_most_changed_layers_come_first_and_unchanged_ones_not_at_all(tmp_path: Path) -> None:
    views = open_views(parent_and_child(tmp_path).root)

    assert most_changed_layers(views, "child", "base")["path"].to_pylist() == ["body.0.fc", "body.9.fc"]
    assert most_changed_layers(views, "child", "base", limit=1)["path"].to_pylist() == ["body.0.fc"]
    assert most_changed_layers(views, "base", "base").num_rows == 0


def test_reshaped_and_new_layers_are_ranked_with_the_changed_ones(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    before = {"half": np.ones(4), "little": np.ones(4), "pruned": np.ones(4)}
    add_model(store, "base", layers=[described(path, values) for path, values in before.items()])
    layers = [described("half", np.ones(2)), described("little", [1, 1, 1, 0.9]), described("new", [1.0]),
              described("pruned", [1, 1, 1, 0])]  # fmt: skip
    add_model(store, "other", seed=1, layers=layers)

    found = most_changed_layers(open_views(tmp_path), "other", "base")

    assert found["path"].to_pylist() == ["new", "half", "pruned"]


def test_a_layer_that_is_gone_is_among_the_most_changed(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    layers = [described(path, np.ones(4)) for path in ("body.0.fc", "body.1.fc", "body.2.fc")]
    add_model(store, "base", layers=layers)
    add_model(store, "child", parent="base", steps=[Step("drop")], layers=[layers[0], layers[2]])

    (gone,) = most_changed_layers(open_views(tmp_path), "child", "base").to_pylist()

    assert (gone["path"], gone["parameters"], gone["removed_parameters"]) == ("body.1.fc", 0, 4)
    assert by_path(store, "child", "base")[""]["removed_parameters"] == 4


def test_models_of_two_tasks_and_unknown_ones_are_errors(tmp_path: Path) -> None:
    store = new_store(tmp_path, tasks=(TASK, "other-1"))
    add_model(store, "mine")
    add_model(store, "theirs", task_id="other-1")
    views = open_views(tmp_path)

    with pytest.raises(NotComparableError):
        layer_tree(views, ["theirs"], "mine")
    with pytest.raises(ModelNotFoundError):
        most_changed_layers(views, "mine", "gone")


def saved(store: Store, model_id: str, seed: int, **values: Values) -> None:
    module = torch.nn.ModuleDict({"fc": torch.nn.Linear(2, 2)})
    state = {name: torch.from_numpy(value) for name, value in values.items()}
    module["fc"].load_state_dict(state)
    layers = [{**described("fc", value), "tensor": name} for name, value in values.items()]
    add_model(store, model_id, seed=seed, layers=layers, artifact=save_model(store.layout, module).digest)


def test_any_two_saved_models_are_compared_by_their_weights(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    first, second = np.array([[[1, 0], [0, 2]], [[1, 0], [3, 0]]], np.float32)
    bias = np.array([3, 4], np.float32)
    saved(store, "base", 0, weight=first, bias=bias)
    saved(store, "other", 1, weight=second, bias=bias)

    node = by_path(store, "other", "base")["fc"]

    assert (node["zeros_both"], node["zeros_base_only"], node["zeros_model_only"]) == (1, 1, 1)
    assert node["relative_change"] == pytest.approx(np.sqrt(13 / 30))


def test_without_saved_weights_what_the_tables_do_not_know_is_null(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for seed, model_id in enumerate(("base", "other")):
        add_model(store, model_id, seed=seed, layers=[described("fc", [0.0, 1.0])], artifact=NO_ARTIFACT)

    node = by_path(store, "other", "base")["fc"]

    assert [node[name] for name in ("zeros_both", "relative_change", "sqnr_db")] == [None] * 3
