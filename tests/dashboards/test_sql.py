"""The page of SQL: its pieces, and what a user does with it in a real browser."""

import re
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bokeh.models import Line, Scatter, VBar
from playwright.sync_api import expect

from cc_ray.store import Store
from cc_ray.views import open_views
from cc_ray.views.guide import examples, sources
from dashboards import figures
from dashboards.snapshot import Snapshot
from dashboards.sql.asking import MOST_ROWS, Outcome, ask, cancel
from dashboards.sql.chart import MOST_BARS, Axes, chart, choices, note
from dashboards.sql.editor import completions
from dashboards.sql.names import names
from dashboards.sql.results import PAGE, body, head
from dashboards.state import short
from tests.dashboards.screen import Screen

SLOW = "SELECT sum(a.range * b.range) FROM range(1000000) a, range(10000000) b"
NUMBERS = pa.table({"name": ["a", "b", "a"], "accuracy": [0.5, None, 0.25], "n": [1, 2, 3]})


def test_a_query_is_answered_within_its_limits(store: Store) -> None:
    found = ask(str(store.root), f"SELECT range AS n FROM range({MOST_ROWS + 5})", "query-1", "me")

    assert found.table is not None
    assert (found.table.num_rows, found.truncated) == (MOST_ROWS, True)
    assert "the first 10,000 rows" in head(found, "table", Axes())


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT nope FROM models", "DESCRIBE <view> lists"),
        ("SELECT 1; SELECT 2", "one SQL statement is expected"),
        ("DROP TABLE models", "read-only here. Use SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "no files"),
        ("SELECT '<script>' FROM", "syntax error"),
    ],
)
def test_what_cannot_be_answered_says_why_in_one_line_and_is_no_markup(store: Store, query: str, said: str) -> None:
    found = ask(str(store.root), query, "query-2", "me")

    shown = body(found, 0, {}, {})
    assert said.replace("<", "&lt;").replace(">", "&gt;") in shown
    assert "\n" not in found.error and "<script" not in shown


def test_a_query_that_nobody_wants_any_more_is_stopped(store: Store) -> None:
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(ask(str(store.root), SLOW, "query-3", "me")))
    thread.start()
    while thread.is_alive():
        cancel(str(store.root), "query-3", "somebody else")
        cancel(str(store.root), "query-3", "me")
        time.sleep(0.05)

    assert found[0].error == "the query was cancelled."


def test_an_answer_is_shown_a_page_at_a_time_with_metrics_as_everywhere(snapshot: Snapshot) -> None:
    id = next(iter(snapshot.models))
    table = pa.table({"model_id": [id] * (PAGE + 1), "accuracy": [0.5] * (PAGE + 1), "<b>": [[1.0, None]] * (PAGE + 1)})
    outcome = Outcome("", table)

    first, second = (body(outcome, offset, snapshot.models, snapshot.metrics) for offset in (0, PAGE))

    assert (first.count("<tr>"), second.count("<tr>")) == (1 + PAGE, 1 + 1)
    assert ">50.0 %<" in first
    assert f'data-do="open" data-model="{id}"' in first
    assert "&lt;b&gt;" in first and "1, –" in first


def test_columns_of_one_name_are_both_shown() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])

    assert body(Outcome("", table), 0, {}, {}).count('class="number"') == 4
    assert choices(table) == ([], [])


def test_axes_fit_the_answer() -> None:
    assert choices(NUMBERS) == (["name", "accuracy", "n"], ["accuracy", "n"])
    assert Axes().fitting(NUMBERS.select(["n", "accuracy"])) == Axes("n", "accuracy", "points")
    assert Axes().fitting(NUMBERS.select(["n", "name"])) == Axes("name", "n", "bars")
    assert Axes("gone", "accuracy").fitting(NUMBERS.select(["accuracy", "n"])) == Axes("n", "accuracy", "points")
    assert Axes().fitting(NUMBERS.select(["n"])) == Axes("n", "n", "points")
    assert Axes().fitting(NUMBERS) == Axes("name", "accuracy", "bars")
    assert Axes("n", "accuracy", "line").fitting(NUMBERS) == Axes("n", "accuracy", "line")
    assert Axes("gone", "n").fitting(NUMBERS.select(["accuracy", "n"])) == Axes("accuracy", "n", "points")
    assert Axes().fitting(NUMBERS.select(["name"])).y == ""


def test_each_kind_of_chart_draws_the_rows(snapshot: Snapshot) -> None:
    bars = figures.plain(lambda: chart(NUMBERS, Axes("name", "accuracy", "bars"), snapshot.metrics))
    points = figures.plain(lambda: chart(NUMBERS, Axes("n", "accuracy", "points"), snapshot.metrics))
    line = figures.plain(lambda: chart(NUMBERS, Axes("n", "accuracy", "line"), snapshot.metrics))

    (drawn,) = drawn_as(bars, VBar)
    assert list(drawn.data_source.data["x"]) == ["a", "a (2)"]
    assert bars.yaxis[0].axis_label == "Accuracy"
    assert len(drawn_as(points, Scatter)) == 1
    assert len(drawn_as(line, Line)) == 1
    many = pa.table({"x": range(MOST_BARS + 1)})
    assert note(many, Axes("x", "x", "bars")) == f"the first {MOST_BARS} of {MOST_BARS + 1} rows"
    assert note(many, Axes("x", "x", "points")) == ""


def test_everything_that_can_be_asked_is_listed_and_completed() -> None:
    known = sources(["accuracy"])

    listed, completed = names(examples(), known), completions(known)

    assert all(f'data-name="{source.name}"' in listed for source in known)
    assert listed.count('data-do="example"') == len(examples())
    assert ["accuracy", "column", "model_metrics"] in [words[:3] for words in completed]


def drawn_as(figure: Any, glyph: type) -> list[Any]:
    """The figure's marks of one kind."""
    return [found for found in figure.renderers if isinstance(found.glyph, glyph)]


@pytest.mark.browser
def test_a_query_is_written_with_completion_run_charted_and_kept_in_the_address(screen: Screen, tmp_path: Path) -> None:
    count = len(open_views(screen.dashboard.store.root).sql("SELECT model_id FROM models"))
    screen.open("?page=sql")
    field = screen.page.get_by_role("combobox", name="SQL query")
    expect(field).to_be_visible(timeout=60_000)

    field.press_sequentially("SELECT model_id, accuracy FROM model_m")
    expect(screen.page.get_by_role("option").first).to_contain_text("model_metrics")
    field.press("Enter")
    field.press_sequentially(" ORDER BY accu")
    field.press("Tab")
    expect(field).to_have_value("SELECT model_id, accuracy FROM model_metrics ORDER BY accuracy")
    field.press("Control+Enter")

    rows = screen.page.locator("table.answer tbody tr")
    expect(rows).to_have_count(count, timeout=60_000)
    screen.page.wait_for_function("() => location.search.includes('sql=SELECT')")
    screen.page.get_by_role("button", name="Chart").click()
    expect(screen.page.locator(".answer-card canvas").first).to_be_visible(timeout=60_000)
    with screen.page.expect_download(timeout=60_000) as file:
        screen.page.get_by_role("button", name="Download Parquet").click()
    file.value.save_as(tmp_path / "answer.parquet")
    assert pq.read_table(tmp_path / "answer.parquet").num_rows == count

    screen.page.reload()
    expect(rows).to_have_count(count, timeout=60_000)
    model = rows.first.get_by_role("button")
    id = model.inner_text()
    model.click()
    expect(screen.page.locator(".details .facts")).to_contain_text(id, timeout=60_000)
    assert screen.addressed() == [short(id)]


@pytest.mark.browser
def test_a_slow_query_is_cancelled_and_a_wrong_one_explained(screen: Screen) -> None:
    screen.open("?page=sql")
    field = screen.page.get_by_role("combobox", name="SQL query")
    expect(field).to_be_visible(timeout=60_000)

    field.fill(SLOW)
    screen.page.get_by_role("button", name="Run").click()
    expect(screen.page.get_by_role("status").filter(has_text=re.compile(r"Running, \d+ s"))).to_be_visible()
    screen.page.get_by_role("button", name="Cancel").click()
    expect(screen.page.get_by_role("alert")).to_contain_text("cancelled", timeout=60_000)
    screen.page.get_by_role("button", name="Why trials failed").click()
    expect(screen.page.locator("table.answer tbody")).to_contain_text("loss is NaN", timeout=60_000)

    field.fill("SELECT nope FROM models")
    field.press("Control+Enter")
    expect(screen.page.get_by_role("alert")).to_contain_text("DESCRIBE", timeout=60_000)
