"""The parts of the Overview page that need no browser."""

import re
from pathlib import Path

import pytest

import cc_ray
from cc_ray import compare
from dashboards.overview.bars import actions, axes
from dashboards.overview.encoding import Encoding
from dashboards.overview.filter_pane import filter_pane, said
from dashboards.overview.filters import OPEN, Filters, passing
from dashboards.overview.insights_pane import insights_pane
from dashboards.overview.map_choice import folded, sweeps_of, turned, with_turned
from dashboards.overview.model_table import PAGE, columns, model_table, ordered
from dashboards.overview.parallel import parallel
from dashboards.overview.progress import of_snapshot
from dashboards.overview.refine import pills, refined, toggled
from dashboards.snapshot import Snapshot, Source
from dashboards.state import State, short

KNOWN = ("accuracy", "size_bytes")


def test_filters_survive_the_address() -> None:
    filters = Filters({"accuracy": (0.8, 0.95), "size_bytes": (None, 4e4)}, "prune")

    assert Filters.read(filters.text, "prune", KNOWN) == filters
    assert filters.text == "accuracy:0.8..0.95;size_bytes:..40000"


@pytest.mark.parametrize("text", ["", "accuracy", "unknown:1..2", ";;", "accuracy:1"])
def test_what_is_no_filter_is_left_out(text: str) -> None:
    assert Filters.read(text, "", KNOWN).intervals == {}


def test_an_interval_without_ends_is_shown_and_lets_everything_pass(snapshot: Snapshot) -> None:
    filters = Filters.read("accuracy:a..b", "", KNOWN)

    assert filters.intervals == {"accuracy": OPEN}
    assert not filters.active
    assert passing(snapshot, filters) == list(snapshot.models)


def test_a_filter_that_matches_nothing_lets_nothing_pass_and_says_so(snapshot: Snapshot) -> None:
    filters = Filters({"accuracy": (2.0, None)})

    assert passing(snapshot, filters) == []
    assert "No model passes" in said(snapshot, filters, [])
    assert "No model passes" in filter_pane(snapshot, filters, [])


def test_the_filter_tab_has_a_histogram_a_metric_to_brush(snapshot: Snapshot) -> None:
    filters = Filters({"accuracy": (0.5, None), "size_bytes": OPEN})

    found = filter_pane(snapshot, filters, passing(snapshot, filters))

    assert re.findall('data-brush="([^"]+)"', found) == ["accuracy", "size_bytes"]
    assert found.count('data-bins="20"') == 2
    assert "≥ 50.0 %" in found
    assert 'value="accuracy"' not in found, "a metric that is filtered by is not offered again"


def test_without_filters_some_are_offered(snapshot: Snapshot) -> None:
    assert 'data-do="add-filter" data-value="accuracy"' in filter_pane(snapshot, Filters(), list(snapshot.models))


def test_the_table_is_in_order_of_a_metric_and_what_lacks_it_comes_last(snapshot: Snapshot) -> None:
    ids = ordered(snapshot, list(snapshot.models), "-accuracy")
    values = [snapshot.models[id]["accuracy"] for id in ids]

    assert values == sorted(values, reverse=True)
    assert ordered(snapshot, ids, "unknown") == ids
    assert ordered(snapshot, ids, "name") == sorted(ids, key=snapshot.labels.name)


def test_a_page_of_the_table_can_be_marked_and_tells_where_it_is(snapshot: Snapshot) -> None:
    ids = list(snapshot.models) * 5

    found = model_table(snapshot, ids, ["accuracy"], "-accuracy", PAGE)

    assert found.count("<tr data-do") == PAGE
    assert f"{PAGE + 1}–{2 * PAGE} of {len(ids)}" in found
    assert 'aria-sort="descending"' in found
    assert found.count('<tr data-do="select"') == found.count("aria-selected") == PAGE


def test_the_tables_columns_are_the_primary_metrics_until_chosen(snapshot: Snapshot) -> None:
    assert columns(snapshot, "") == [metric.metric for metric in snapshot.primary]
    assert columns(snapshot, "loss,unknown") == ["loss"]


def test_insights_select_what_they_are_about(snapshot: Snapshot) -> None:
    found = insights_pane(snapshot)

    assert set(re.findall('data-do="insight" data-model="([^"]+)"', found)) <= set(snapshot.models)
    assert "<li" in found


def test_unknown_metrics_fall_back_to_the_defaults(snapshot: Snapshot) -> None:
    found = Encoding.of(snapshot, State(x="nonsense", colour="none"))

    assert found == Encoding("", "size_bytes", "size_bytes", "accuracy")


def test_sweeps_are_folded_but_for_those_that_were_unfolded(snapshot: Snapshot) -> None:
    state = State(fold="yes")
    first, *others = sorted(folded(snapshot, state))

    state.unfolded = turned(state, first)

    assert sorted(folded(snapshot, state)) == others
    assert state.unfolded == short(first)
    assert turned(state, first) == ""
    assert folded(snapshot, State()) == frozenset(), "few models have room"


def test_one_metric_is_no_trade_off_and_no_error(tmp_path: Path) -> None:
    store = cc_ray.open(tmp_path / "store", create=True)
    store.log_model("net", task="a task", metrics={"accuracy": 0.9})
    snapshot = Source(str(tmp_path / "store")).snapshot
    state = State(groups="operation")

    encoding = Encoding.of(snapshot, state)

    assert (encoding.x, encoding.y) == ("", "accuracy")
    assert 'value="accuracy" selected' in axes(snapshot, state, encoding)


def test_the_sweep_of_a_selected_model_unfolds_by_a_button_too(snapshot: Snapshot) -> None:
    state = State(fold="yes")
    sweep, *others = sorted(folded(snapshot, state))
    of_base = next(row for row in snapshot.models.values() if row["operation"] is None)

    assert sweeps_of(snapshot, [sweep, of_base["model_id"]]) == {sweep}
    assert "Unfold sweep" in actions([snapshot.models[sweep]], snapshot, state)
    state.unfolded = with_turned(state, [sweep], fold=False)
    assert sorted(folded(snapshot, state)) == others
    assert "Fold sweep<" in actions([snapshot.models[sweep]], snapshot, state)
    state.unfolded = with_turned(state, [sweep], fold=True)
    assert state.unfolded == ""
    assert "turn-sweeps" not in actions([of_base], snapshot, state)


def test_recipes_have_an_axis_a_variable_and_a_line_a_model(snapshot: Snapshot) -> None:
    ids = list(snapshot.models)

    found = parallel(snapshot, ids, ["accuracy", "size_bytes"], Filters({"accuracy": (0.9, None)}), "accuracy", ids[:1])

    assert found.count("<path") == len(ids)
    assert re.findall('data-brush="([^"]+)"', found) == ["accuracy", "size_bytes"]
    assert found.count('class="on"') == 1


def test_one_recipe_has_nothing_to_differ_in(snapshot: Snapshot) -> None:
    assert "Two models at least" in parallel(snapshot, list(snapshot.models)[:1], ["accuracy"], Filters(), "", [])


def test_progress_never_falls(snapshot: Snapshot) -> None:
    (line,) = of_snapshot(snapshot, ["accuracy", "size_bytes"]).values()

    heights = line.dimension_values(1)
    assert list(heights) == sorted(heights)
    assert heights[-1] == 1.0


def test_pills_keep_models_with_any_value_of_a_variable_and_one_of_every(snapshot: Snapshot) -> None:
    ids = list(snapshot.models)
    labels = compare.differences(snapshot.views, ids).labels.to_pylist()
    variable = next(name for name in labels[0] if name not in ("model_id", "name"))
    first, second = list(dict.fromkeys(row[variable] for row in labels))[:2]

    one = toggled({}, variable, first)
    two = toggled(one, variable, second)

    assert refined(snapshot, ids, {}) == ids
    assert refined(snapshot, ids, two) == [row["model_id"] for row in labels if row[variable] in (first, second)]
    assert set(refined(snapshot, ids, one)) < set(refined(snapshot, ids, two))
    assert toggled(one, variable, first) == {}


def test_a_comparison_of_many_offers_pills(snapshot: Snapshot) -> None:
    ids = list(snapshot.models)

    assert "Refine comparison" in pills(snapshot, ids, {}, len(ids))
    assert pills(snapshot, ids[:2], {}, 2) == ""
