"""The pieces of the Layers page: trees, histograms, cells, grids and series, from what compare answers."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.models import Line
from bokeh.models.renderers import GlyphRenderer

import cc_ray
from cc_ray.store import Store
from cc_ray.views import open_views
from dashboards import markup
from dashboards.chosen import Chosen
from dashboards.figures import plain
from dashboards.layer import answers
from dashboards.layer.bisection import bisected, how_to_probe
from dashboards.layer.cells import NOT_COMPARED, VISUALS
from dashboards.layer.curves import bring_out, sensitivity_curves
from dashboards.layer.detail import cell_detail
from dashboards.layer.facts import facts, large
from dashboards.layer.grid import Grid, Head, grid, next_sort, order
from dashboards.layer.histogram import Histogram, framed, of_outputs, of_weights, picture
from dashboards.layer.measures import MEASURES, matrix
from dashboards.layer.modules import Modules, _find
from dashboards.layer.nothing import missing
from dashboards.layer.sensitivity import _draw
from dashboards.layer.series import all_series, chosen_series, probed_metrics
from dashboards.layer.table import Look, table
from dashboards.layer.terms import TERMS, info, term
from dashboards.layer.tree import Tree, reshaped
from dashboards.pages.layers import VIEWS
from dashboards.scales import ColourScale
from dashboards.session import Session
from dashboards.snapshot import Snapshot, Source
from dashboards.state import LAYER_VIEWS, PROBE_SPLITS, short
from dashboards.state import VISUALS as NAMES
from dashboards.user import User


def against_base(snapshot: Snapshot, count: int) -> Chosen:
    base = next(id for id, row in snapshot.models.items() if row["parent"] is None and row["base"] == "resnet")
    ids = [id for id, row in snapshot.models.items() if row["parent"] and row["root"] == base][:count]
    return Chosen(tuple(ids), base, True)


def look(snapshot: Snapshot, now: Chosen, visual: str, **more: object) -> Look:
    tree = answers.module_tree(snapshot.views, now.shown, now.base)
    rows = {"sparsity": tree.nodes, "weights": answers.weights, "activations": answers.outputs}[visual]
    given = rows(snapshot.views, now.shown, now.base) if callable(rows) else rows
    usual = {"paths": list(tree.nodes), "opened": tree.inner, "picked": "", "sort": "", "flat": False}
    return Look(tree=tree, rows=given, visual=VISUALS[visual], now=now, **(usual | more))  # type: ignore[arg-type]


def test_every_view_and_visual_of_the_address_is_there() -> None:
    assert tuple(VIEWS) == LAYER_VIEWS
    assert tuple(VISUALS) == NAMES


def test_modules_are_drawn_as_asked_while_another_answer_is_awaited(snapshot: Snapshot) -> None:
    session = Session(SimpleNamespace(snapshot=snapshot), Document(), User("", False))  # type: ignore[arg-type]
    modules = Modules(session, lambda message: None)
    modules._take(_find(snapshot.views, against_base(snapshot, 2), "sparsity", ""))
    drawn = modules.table.body.content

    session.state.visual = "weights"
    modules._do({"do": "refold"})

    assert "stack" in drawn and "stack" in modules.table.body.content


def test_the_tree_unfolds_and_ranks(snapshot: Snapshot) -> None:
    now = against_base(snapshot, 2)
    tree = answers.module_tree(snapshot.views, now.shown, now.base)

    assert list(tree.visible(set())) == [""]
    assert set(tree.visible({""})) == {"", *tree.children[""]}
    assert list(tree.visible({"blocks"}, ["blocks"])) == ["blocks", *tree.children["blocks"]]
    sizes = {path: float(tree.any_node(path, now.base)["parameters"]) for path in tree.leaves if path != "head"}
    ranked = tree.ranked(tree.leaves, sizes.get, least_first=False)
    assert ranked[-1] == "head"
    assert [sizes[path] for path in ranked[:-1]] == sorted(sizes.values(), reverse=True)


def test_a_module_is_reshaped_where_most_of_its_values_have_no_counterpart() -> None:
    assert reshaped({"parameters": 100, "unmatched_parameters": 51})
    assert not reshaped({"parameters": 100, "unmatched_parameters": 50})


@pytest.mark.parametrize("visual", NAMES)
def test_the_table_has_a_row_a_module_and_a_cell_a_model(snapshot: Snapshot, visual: str) -> None:
    now = against_base(snapshot, 3)
    shown = look(snapshot, now, visual)

    found = table(shown, snapshot.labels)

    assert found.count('<tr data-do="pick"') == len(shown.paths)
    assert found.count('data-do="sort"') == 1 + len(now.shown)
    assert found.count('tabindex="0"') == 1
    assert "data-tip" in VISUALS[visual].legend()


def test_a_sorted_table_says_so_and_shows_whole_paths(snapshot: Snapshot) -> None:
    now = against_base(snapshot, 2)
    own = short(now.ids[0])

    found = table(look(snapshot, now, "sparsity", sort=f"-{own}", flat=True), snapshot.labels)

    assert found.count('aria-sort="ascending"') == 1
    assert "<span>blocks.0.conv1</span>" in found


def test_weights_are_stacked_by_how_far_they_moved(snapshot: Snapshot) -> None:
    now = against_base(snapshot, 1)
    row = answers.weights(snapshot.views, now.shown, now.base)["blocks.1.conv2"][now.ids[0]]

    found = of_weights(row, base=False)

    assert found is not None
    assert found.columns.sum() == pytest.approx(1)
    assert found.columns.sum(axis=0) == pytest.approx(np.array(row["bands"]) / sum(row["bands"]))
    assert picture(found).count("<path") >= 1
    assert of_weights({"histogram": None}, base=False) is None


def test_outputs_are_drawn_over_the_outline_of_the_bases(snapshot: Snapshot) -> None:
    now = against_base(snapshot, 1)
    rows = answers.outputs(snapshot.views, now.shown, now.base)["head"]

    found = of_outputs(rows[now.ids[0]], rows[now.base], "red")

    assert found is not None
    assert found.outline is not None
    assert 'class="outline"' in picture(found)
    assert of_outputs(None, None, "red") is None


def test_zeros_without_a_value_of_the_base_beside_them_are_told_apart() -> None:
    counts = {"zeros": 30, "parameters": 100, "sparsity": 0.3, "base_sparsity": 0.0, "unmatched_parameters": 80}
    node: dict[str, Any] = {**counts, "zeros_both": 2, "zeros_base_only": 0, "zeros_model_only": 8}
    cell = VISUALS["sparsity"].cell

    some = cell({"m": node}, "m", "b")
    none = cell({"m": {**node, "zeros_both": None, "zeros_model_only": None, "zeros_base_only": None}}, "m", "b")

    assert f"width:20.00%;background:{NOT_COMPARED}" in some and "20 without a counterpart" in some
    assert f"width:30.00%;background:{NOT_COMPARED}" in none and "the weights were not saved" in none


def test_a_column_that_dwarfs_the_others_is_cut_and_told() -> None:
    shown = Histogram([0, 1, 2, 3], np.array([[0.05], [0.9], [0.05]]), ("red",), ("",))

    assert shown.cut == [1]
    assert "1 to 2 is 90% and cut off" in framed(shown)
    assert Histogram([0, 1, 2], np.array([[0.5], [0.5]]), ("red",), ("",)).cut == []


@pytest.mark.parametrize("visual", NAMES)
def test_a_picked_module_is_shown_large_with_all_its_numbers(snapshot: Snapshot, visual: str) -> None:
    now = against_base(snapshot, 2)
    shown = look(snapshot, now, visual)
    outputs = answers.outputs(snapshot.views, now.shown, now.base)

    pictures = large(shown.rows["head"], VISUALS[visual], now, snapshot.labels, 0)
    numbers = facts(shown.tree, outputs, "head", now, snapshot.labels)

    assert pictures.count('class="large"') == 3
    assert "CKA" in numbers
    assert "Effective bits" in numbers
    assert "2 modules" in large(None, VISUALS[visual], now, snapshot.labels, 2)


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_fills_a_map_of_all_models(snapshot: Snapshot, name: str) -> None:
    now = against_base(snapshot, 100)

    found = matrix(snapshot.views, (now.base, *now.ids), now.base, MEASURES[name])

    assert found.values.shape == (len(found.paths), 1 + len(now.ids))
    assert np.isfinite(found.values).any()
    assert all(text for line in found.texts for text in line)
    assert MEASURES[name].term in TERMS


def test_what_is_equal_has_no_noise_and_is_no_gap(snapshot: Snapshot) -> None:
    now = against_base(snapshot, 1)

    found = matrix(snapshot.views, (now.base,), now.base, MEASURES["sqnr_db"])

    assert np.isinf(found.values).all()
    assert {text for line in found.texts for text in line} == {"equal to the base"}


def test_a_grid_marks_its_cells_sorts_and_picks() -> None:
    heads = [Head(key, key.upper(), key) for key in "ab"]
    values = np.array([[0.0, 1.0], [np.nan, np.inf]])
    shown = Grid(
        "cell", "", heads, heads, values, [["0", "1"], ["<none>", "same"]], ColourScale(0, 1, False, False), ("b", "a"),
        sorted_rows="-b",
    )  # fmt: skip

    found = grid(shown)

    assert re.findall(r'<td class="(\w+)"', found) == ["g0", "g39", "none", "equal"]
    assert found.count("aria-selected=true") == 1
    assert found.count('aria-sort="ascending"') == 1
    assert "<none>" not in found
    assert order(np.array([1.0, np.nan, 3.0]), "x") == [2, 0, 1]
    assert order(np.array([1.0, np.nan, 3.0]), "-x") == [0, 2, 1]
    assert [next_sort("", "a"), next_sort("a", "a"), next_sort("-a", "a")] == ["a", "-a", ""]


def test_a_cell_is_explained_by_the_histograms_behind_it(snapshot: Snapshot) -> None:
    now = against_base(snapshot, 1)

    head, body = cell_detail(snapshot, now.base, short(now.ids[0]), "blocks.0.conv1")

    assert "blocks.0.conv1" in head
    assert body.count("<svg") == 4
    assert 'data-do="open"' in body
    assert "Pick a cell" in cell_detail(snapshot, now.base, "", "")[1]
    assert cell_detail(snapshot, now.base, short(now.base), "blocks.0.conv1")[1].count("<svg") == 2


def test_series_of_sensitivity_are_told_apart_and_drawn(snapshot: Snapshot) -> None:
    metrics = probed_metrics(snapshot.views, tuple(snapshot.metrics))
    series = all_series(snapshot.views, "accuracy")
    one = chosen_series(series, "", against_base(snapshot, 1).base)

    assert "accuracy" in metrics
    assert one.levels == [0.3, 0.6, 0.9]
    assert one.what == "Magnitude pruning (scope layer)"
    assert chosen_series(series, one.key, "nobody") is one
    curves = sensitivity_curves(one, snapshot.metrics["accuracy"], one.patterns[0])
    lines, _, band, picked = curves.values()
    assert len(lines.split()) == len(one.patterns)
    assert len(picked) == len(band) == 3


def test_series_of_both_splits_are_kept_apart_and_one_is_chosen(store: Store, tmp_path: Path) -> None:
    own = Store(shutil.copytree(store.root, tmp_path / "store"))
    rows = own.read("sensitivity").to_pylist()
    judged = [{**row, "split": "calibration", "value": row["value"] - 0.01} for row in rows if row["level"] < 0.9]
    own.publish("sensitivity", "calibration", {"sensitivity": judged})
    views = open_views(own.root)

    series = all_series(views, "accuracy")
    evaluated, calibrated = (chosen_series(series, "", rows[0]["model_id"], split) for split in PROBE_SPLITS)

    assert (evaluated.split, calibrated.split) == PROBE_SPLITS
    assert evaluated.key == calibrated.key
    assert (evaluated.levels, calibrated.levels) == ([0.3, 0.6, 0.9], [0.3, 0.6])
    snapshot = Source(str(own.root)).snapshot
    chosen = dict.fromkeys(("probed", "probe_metric", "layer", "layers", "layer_sort"), "")
    head, _, shown = _draw(snapshot, against_base(snapshot, 1), chosen | {"probe_split": "calibration"})
    assert "on the calibration split" in head and head.count('data-name="probe_split"') == 2
    assert "calibration" in shown[0].sql and "split=calibration" in shown[0].command


def test_what_is_not_recorded_of_layers_is_told_once_with_what_to_do(snapshot: Snapshot, tmp_path: Path) -> None:
    bare = cc_ray.open(tmp_path, create=True)
    base = bare.log_model("net", task="t", metrics={"accuracy": 0.9})
    child = bare.log_model("pruned", task="t", parent="net", operation="prune", metrics={"accuracy": 0.8})

    found = missing(Source(str(tmp_path)).snapshot, Chosen((child,), base, True))

    assert found.keys() == {"modules", "heat", "sensitivity", "similarity"}
    assert all("log_model" in content for view, content in found.items() if view != "sensitivity")
    assert "cc-ray run" in found["sensitivity"]
    assert missing(snapshot, against_base(snapshot, 2)) == {}


def test_another_layer_is_brought_out_in_the_figure_that_is_there(snapshot: Snapshot) -> None:
    one = all_series(snapshot.views, "accuracy")[0]
    figure = plain(lambda: sensitivity_curves(one, snapshot.metrics["accuracy"]))
    drawn: list[Any] = [one for one in figure.renderers if isinstance(one, GlyphRenderer)]
    line = next(one for one in drawn if isinstance(one.glyph, Line))
    assert len(line.data_source.data["value"]) == 0

    bring_out(figure, one, one.patterns[-1])

    assert list(line.data_source.data["level"]) == [0.3, 0.6, 0.9]


def test_bisections_are_told_in_a_sentence_or_how_to_make_one(snapshot: Snapshot) -> None:
    now = against_base(snapshot, 1)

    found = bisected(snapshot, now)

    assert "No smaller set does: 37 sets were measured." in found
    assert found.count("<li>") == 2
    other = next(id for id, row in snapshot.models.items() if row["root"] != now.base)
    assert "cc-ray bisect" in bisected(snapshot, Chosen((), other, True))
    assert f"cc-ray sensitivity {short(now.base)} --operation" in how_to_probe(snapshot, now.base)


def test_terms_carry_their_definitions_for_pointer_and_keyboard() -> None:
    for key in TERMS:
        for found in (term(key, "word"), info(key)):
            assert 'tabindex="0"' in found
            assert f'data-tip="{markup.esc(TERMS[key])}"' in found


def test_tabs_mark_the_one_in_front() -> None:
    found = markup.tabs("layer_view", {"a": "A", "b": "<B>"}, "a", {"b": "hint"})

    assert found.count('aria-selected="true"') == 1
    assert "<B>" not in found


def test_the_tree_of_nothing_is_empty() -> None:
    assert list(Tree.of([]).visible({""})) == []


def test_modules_that_only_put_something_out_have_their_place_in_the_tree() -> None:
    rows = [{"path": path, "parent": up} for path, up in (("", None), ("a", ""), ("a.conv", "a"))]
    tree = Tree.of([{**row, "leaf": True, "model_id": "m"} for row in rows])

    found = tree.with_modules({"a.act": "ReLU", "b.pool": "AvgPool2d"}, "m")

    assert list(found.visible(found.inner)) == ["", "a", "a.act", "a.conv", "b", "b.pool"]
    assert found.nodes["b.pool"]["m"]["module"] == "AvgPool2d"
    assert list(tree.visible(tree.inner)) == ["", "a", "a.conv"]
