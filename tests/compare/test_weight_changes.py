from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from cc_ray.compare.layers.module_paths import matching
from cc_ray.compare.layers.tree import layer_tree, zero_overlap
from cc_ray.compare.layers.weight_changes import BANDS, as_matrix, weight_changes
from cc_ray.errors import QueryError
from cc_ray.evaluate.layers import layers
from cc_ray.store import Store
from cc_ray.store.artifacts import save_model
from cc_ray.store.weights import read_weights
from cc_ray.views import open_views
from tests.compare.small import add_model, new_store

Row = dict[str, Any]
Floats = NDArray[np.float64]


def put(
    store: Store,
    model_id: str,
    model: nn.Module,
    parent: str | None = None,
    kept: dict[str, list[list[int]]] | None = None,
) -> str:
    """Save a model and write its layers down as measuring does."""
    saved = save_model(store.layout, model)
    weights = read_weights(store.layout, saved.digest)
    before = None
    if parent:
        row = next(row for row in store.read("models").to_pylist() if row["model_id"] == parent)
        before = read_weights(store.layout, row["artifact"])
    rows = [layer.row(model_id) for layer in layers(model, weights, before, kept)]
    return add_model(store, model_id, parent=parent, layers=rows, artifact=saved.digest, seed=len(store.keys("step")))


def network(seed: int = 0, width: int = 6) -> Any:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Sequential(nn.Linear(5, width), nn.BatchNorm1d(width)), nn.Linear(width, 3))


def changed(store: Store, model: str, base: str, **more: Any) -> dict[str, Row]:
    found = weight_changes(open_views(store.root), [model], base, **more).to_pylist()
    return {row["path"]: row for row in found if row["model_id"] == model}


def bands_of(m: Floats, b: Floats) -> list[int]:
    with np.errstate(all="ignore"):
        relative = np.where(m == b, 0, np.abs(m - b) / np.abs(b))
    counts: list[int] = np.histogram(relative, [*BANDS, np.inf])[0].tolist()
    return counts


def weight(model: nn.Module, path: str) -> Floats:
    values: Floats = model.get_parameter(f"{path}.weight").detach().numpy().astype(np.float64)
    return values


def test_sums_bands_and_histogram_are_those_of_plain_numpy(tmp_path: Path) -> None:
    store, base, other = new_store(tmp_path), nn.Linear(300, 301), nn.Linear(300, 301)
    with torch.no_grad():
        other.weight.copy_(base.weight * (1 + torch.randn_like(base.weight)))
        other.weight[:50] = base.weight[:50]
        other.weight[50:60, ::2] = 0
        base.weight[55:65, ::3] = 0
    put(store, "base", base), put(store, "other", other)
    m, b = (model.weight.detach().numpy().astype(np.float64) for model in (other, base))

    found = changed(store, "other", "base")[""]

    assert (found["parameters"], found["compared"], found["removed"], found["not_finite"]) == (m.size, m.size, 0, 0)
    assert found["sum_absolute"] == pytest.approx(np.abs(m).sum(), rel=1e-13)
    assert found["sum_square"] == pytest.approx((m**2).sum(), rel=1e-13)
    assert found["sum_absolute_change"] == pytest.approx(np.abs(m - b).sum(), rel=1e-13)
    assert found["sum_square_change"] == pytest.approx(((m - b) ** 2).sum(), rel=1e-13)
    assert found["relative_change"] == pytest.approx(np.linalg.norm(m - b) / np.linalg.norm(b), rel=1e-13)
    assert found["bands"] == bands_of(m, b)
    edges = [-np.inf, *found["edges"][1:-1], np.inf]
    assert as_matrix(found).sum(axis=1).tolist() == np.histogram(m, edges)[0].tolist()
    with np.errstate(all="ignore"):
        band_of = np.digitize(np.where(m == b, 0, np.abs(m - b) / np.abs(b)), BANDS) - 1
    for band in range(len(BANDS)):
        assert as_matrix(found)[:, band].tolist() == np.histogram(m[band_of == band], edges)[0].tolist()


def test_inner_modules_are_sums_and_every_module_has_bins_of_its_own(tmp_path: Path) -> None:
    store, base, other = new_store(tmp_path), network(0), network(1)
    with torch.no_grad():
        base[0][1].weight.copy_(torch.linspace(50, 100, 6))
        other[0][1].weight.copy_(torch.linspace(60, 90, 6))
    put(store, "base", base), put(store, "other", other)

    found = changed(store, "other", "base")

    assert list(found) == ["", "0", "0.0", "0.1", "1"]
    for name in ("compared", "sum_square_change", "sum_absolute"):
        assert found["0"][name] == pytest.approx(found["0.0"][name] + found["0.1"][name])
    every_weight = np.concatenate([weight(other, path).ravel() for path in ("0.0", "0.1", "1")])
    edges = [-np.inf, *found[""]["edges"][1:-1], np.inf]
    assert as_matrix(found[""]).sum(axis=1).tolist() == np.histogram(every_weight, edges)[0].tolist()
    assert found["0.0"]["edges"][-1] < 1 < 50 < found["0.1"]["edges"][-1]
    assert (as_matrix(found["0.0"]).sum(axis=1) > 0).sum() > 8
    assert list(changed(store, "other", "base", path="0")) == ["0", "0.0", "0.1"]
    assert changed(store, "other", "base", every=True)["1"]["compared"] == 6 * 3 + 3


def test_broken_weights_are_counted_and_left_out(tmp_path: Path) -> None:
    store, base, other = new_store(tmp_path), network(0), network(1)
    with torch.no_grad():
        other[1].weight[0, 0] = torch.nan
        base[1].weight[1, 1] = torch.inf
    put(store, "base", base), put(store, "other", other)

    found = changed(store, "other", "base")["1"]

    assert (found["compared"], found["not_finite"], sum(found["bands"])) == (18, 2, 16)
    assert np.isfinite(found["sum_square_change"])


def test_a_module_of_one_model_only_is_shown_with_nulls(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, "base", nn.ModuleDict({"old": nn.Linear(2, 2), "both": nn.Linear(2, 2)}))
    put(store, "other", nn.ModuleDict({"new": nn.Linear(3, 2), "both": nn.Linear(2, 2)}))

    found = changed(store, "other", "base")

    assert (found["old"]["parameters"], found["old"]["removed"], found["old"]["relative_change"]) == (None, 4, None)
    assert (found["new"]["parameters"], found["new"]["unmatched"], found["new"]["bands"]) == (6, 6, None)
    assert (found[""]["compared"], found[""]["unmatched"], found[""]["removed"]) == (4, 6, 4)
    assert layer_tree(open_views(tmp_path), ["other"], "base").num_rows > 0


def test_without_saved_weights_the_changes_are_null(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, "base", network())
    add_model(store, "other", seed=9)

    found = changed(store, "other", "base")[""]

    assert (found["parameters"], found["compared"], found["histogram"]) == (None, None, None)


def cut(model: Any, rows: list[int]) -> tuple[Any, dict[str, list[list[int]]]]:
    """Keep some channels of the first layer, which the norm and the last layer take in."""
    child = network(width=len(rows))
    with torch.no_grad():
        child[0][0].weight.copy_(model[0][0].weight[rows])
        child[0][0].bias.copy_(model[0][0].bias[rows])
        child[0][1].weight.copy_(model[0][1].weight[rows])
        child[0][1].bias.copy_(model[0][1].bias[rows])
        child[1].weight.copy_(model[1].weight[:, rows])
        child[1].bias.copy_(model[1].bias)
    one = {f"0.{name}": [rows] for name in ("0.bias", "1.weight", "1.bias")}
    return child, one | {"0.0.weight": [rows, [0, 1, 2, 3, 4]], "1.weight": [[0, 1, 2], rows]}


def pruned_twice_and_tuned(root: Path) -> tuple[Store, Any]:
    store, base = new_store(root), network()
    with torch.no_grad():
        base[0][0].weight[2, 1] = 0
    once, kept = cut(base, [0, 2, 3, 5])
    twice, kept_again = cut(once, [1, 3])
    put(store, "base", base)
    put(store, "once", once, "base", kept)
    put(store, "twice", twice, "once", kept_again)
    with torch.no_grad():
        twice[0][0].weight.mul_(1.5)
    put(store, "tuned", twice, "twice")
    other, kept_other = cut(base, [5, 4, 2])
    put(store, "other", other, "base", kept_other)
    put(store, "silent", once, "base")
    return store, base


def test_what_is_left_after_pruning_is_matched_along_the_lineage(tmp_path: Path) -> None:
    store, base = pruned_twice_and_tuned(tmp_path)

    twice, tuned = changed(store, "twice", "base"), changed(store, "tuned", "base")

    assert (twice["0.0"]["compared"], twice["0.0"]["removed"], twice["0.0"]["unmatched"]) == (10, 20, 0)
    assert twice[""]["relative_change"] == 0
    first = weight(base, "0.0")[[2, 5]]
    assert tuned["0.0"]["sum_square_change"] == pytest.approx(((0.5 * first) ** 2).sum())
    assert tuned["0.0"]["relative_change"] == pytest.approx(0.5)
    assert tuned["1"]["relative_change"] == 0


def test_a_larger_model_and_a_cousin_are_matched_too(tmp_path: Path) -> None:
    store, _ = pruned_twice_and_tuned(tmp_path)

    up, cousin = changed(store, "base", "tuned"), changed(store, "other", "twice")

    assert (up["0.0"]["compared"], up["0.0"]["unmatched"], up["0.0"]["removed"]) == (10, 20, 0)
    assert up["0.0"]["relative_change"] == pytest.approx(1 / 3)
    # Channels 2 and 5 of the base are in both, in another order.
    assert (cousin["0.0"]["compared"], cousin["0.0"]["unmatched"], cousin["0.0"]["relative_change"]) == (10, 5, 0)


def test_tree_and_zeros_match_what_is_left_and_count_what_is_gone(tmp_path: Path) -> None:
    store, base = pruned_twice_and_tuned(tmp_path)
    views = open_views(store.root)

    tree = {r["path"]: r for r in layer_tree(views, ["tuned"], "base").to_pylist() if r["model_id"] == "tuned"}
    zero = {r["path"]: r for r in zero_overlap(views, ["tuned"], "base").to_pylist() if r["model_id"] == "tuned"}

    left, bias = (np.linalg.norm(base.get_parameter(f"0.0.{name}").detach()[[2, 5]]) for name in ("weight", "bias"))
    assert tree["0.0"]["relative_change"] == pytest.approx(0.5 * left / np.hypot(left, bias))
    assert (tree["0.0"]["removed_parameters"], tree["0.0"]["unmatched_parameters"]) == (20 + 4, 0)
    assert [zero["0.0"][name] for name in ("zeros_both", "zeros_base_only", "zeros_model_only")] == [1, 0, 0]


def test_a_change_of_shape_that_nobody_recorded_is_shown_as_such(tmp_path: Path) -> None:
    store, _ = pruned_twice_and_tuned(tmp_path)

    found = changed(store, "silent", "base")["0.0"]
    tree = {row["path"]: row for row in layer_tree(open_views(tmp_path), ["silent"], "base").to_pylist()[1::2]}

    assert (found["compared"], found["unmatched"], found["removed"], found["relative_change"]) == (0, 20, 30, None)
    assert tree["0.0"]["unmatched_parameters"] == 24


def test_a_pattern_leaves_the_topmost_modules_in_which_it_is_found(tmp_path: Path) -> None:
    views = open_views(new_store(tmp_path).root)
    paths = ["", "block", "block.10.conv", "block.9.Conv", "block.9.Conv.inner", "head"]

    assert matching(views, paths, "conv") == ["block.9.Conv", "block.10.conv"]
    assert matching(views, paths, "^block") == ["block"]
    with pytest.raises(QueryError, match="is no regular expression"):
        matching(views, paths, "conv(")
    with pytest.raises(QueryError, match="too long"):
        matching(views, paths, "a" * 201)
    assert matching(views, ["a" * 40], "(a*)*b") == []


def test_questions_take_a_pattern(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    put(store, "base", network())
    put(store, "other", network(1))

    assert list(changed(store, "other", "base", pattern="0.1|^1")) == ["0.1", "1"]
    assert set(layer_tree(open_views(tmp_path), ["other"], "base", pattern="^1")["path"].to_pylist()) == {"1"}
