"""Every card's menu: what it shows as a question, whose SQL runs and gives the same rows."""

import math
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from cc_ray.compare.catalogue import question
from cc_ray.compare.written import Written, written
from dashboards.behaviour import shown as behaviours
from dashboards.behaviour.asked import Asked
from dashboards.chosen import Chosen
from dashboards.layer import shown as layers
from dashboards.layer.measures import MEASURES
from dashboards.overview import shown as overview
from dashboards.overview.encoding import Encoding
from dashboards.overview.filters import Filters
from dashboards.sharing.menu import file_name
from dashboards.sharing.shown import Shown
from dashboards.snapshot import Snapshot
from dashboards.state import MEASURES as NAMES
from dashboards.state import State
from dashboards.studies import shown as studies
from dashboards.studies.report import chosen_study, report
from tests.dashboards.screen import Screen

WITHOUT: Final = {
    "names-card": "it lists what can be asked, nothing of the store",
    "editor-card": "it is the query itself; its files are those of the answer",
}
"""Cards without a menu, and why."""
PAGES: Final = (
    "", "?trade_offs=progress&side=table", "?trade_offs=recipes&side=filter", "?side=insights",
    "?page=behaviours", "?page=behaviours&part=classes", "?page=behaviours&part=flips",
    "?page=behaviours&part=instances", "?page=behaviours&part=exemplars",
    "?page=behaviours&part=slices&where=confidence%3C0.9", "?page=behaviours&part=calibration",
    "?page=layers&layer=conv1", "?page=layers&layer_view=heat", "?page=layers&layer_view=sensitivity",
    "?page=layers&layer_view=similarity", "?page=studies", "?page=sql&sql=SELECT%201%20AS%20one",
)  # fmt: skip


@pytest.fixture(scope="module")
def chosen(snapshot: Snapshot) -> Chosen:
    ids = [id for id, row in snapshot.models.items() if row["parent"]]
    base = snapshot.models[ids[0]]["root"]
    return Chosen(tuple(id for id in ids if snapshot.models[id]["root"] == base)[:3], base, True)


def of_overview(snapshot: Snapshot, chosen: Chosen) -> list[Shown]:
    encoding, filters = (
        Encoding("accuracy", "size_bytes", "size_bytes", "accuracy"),
        Filters({"accuracy": (0.1, None)}, "prun"),
    )
    kept = list(chosen.ids)
    views = [State(trade_offs=name) for name in ("front", "progress", "recipes")] + [State(groups="operation")]
    sides = [State(side=name) for name in ("filter", "table", "insights", "details")]
    found = overview.model_map()
    for state in views:
        found += overview.trade_offs(snapshot, state, encoding, filters, kept)
    found += overview.trade_offs(snapshot, views[0], encoding, Filters({"accuracy": (0.1, 1.0)}), kept)
    for ids in ([], kept[:1], kept):
        found += [each for state in sides for each in overview.side(snapshot, state, filters, ids)]
    return found


def of_behaviours(snapshot: Snapshot, chosen: Chosen) -> list[Shown]:
    def asked(measure: str = "correct", where: str = "", label: int | None = None) -> Asked:
        return Asked(snapshot, chosen, measure, "difference", label, where, {})

    now = asked(where="confidence < 0.9 AND label_name <> 'x'", label=1)
    found = behaviours.sums(now, generated=False) + behaviours.sums(now, generated=True)
    found += behaviours.outcomes(now) + behaviours.flips(now)
    for measure in NAMES:
        found += behaviours.classes(asked(measure), "class")
    found += behaviours.classes(now, "slice")
    for flow in ("outcome", "class"):
        found += behaviours.flow(now, State(flow=flow))
    found += behaviours.pair(chosen.base, chosen.ids[0])
    for only in ("all", "flipped", "lost", "gained", "disagree", "wrong"):
        found += behaviours.instances(now, State(only=only))
    found += behaviours.exemplars(now, chosen.ids) + behaviours.found_slices(now, chosen.ids[0], 5)
    found += behaviours.written_slice(now) + behaviours.reliability(now) + behaviours.calibration(now)
    return found + behaviours.texts(now, State(only="disagree"))


def of_layers(snapshot: Snapshot, chosen: Chosen) -> list[Shown]:
    found = [
        each
        for path in ("", "conv1")
        for visual in ("sparsity", "weights", "activations")
        for each in layers.modules(chosen, visual, path)
    ]
    for measure in MEASURES.values():
        found += layers.heat_map(chosen.ids, chosen.base, measure)
    found += layers.cell(chosen.ids[0], chosen.base, "conv1") + layers.sensitivity("accuracy", "evaluation")
    found += layers.sensitivity("accuracy", "calibration")
    return found + layers.bisections() + layers.similarity(chosen.ids[0], chosen.base)


def of_studies(snapshot: Snapshot, chosen: Chosen) -> list[Shown]:
    study = chosen_study(snapshot, "")
    assert study
    return studies.studies(True) + studies.trials(report(snapshot, study)) + studies.report(report(snapshot, study))


@pytest.mark.parametrize("of_page", [of_overview, of_behaviours, of_layers, of_studies])
def test_every_shown_query_runs(
    snapshot: Snapshot, chosen: Chosen, of_page: Callable[[Snapshot, Chosen], list[Shown]]
) -> None:
    for shown in of_page(snapshot, chosen):
        rows = snapshot.views.sql(shown.sql)

        assert not re.search(r"\$\w", shown.sql) and shown.note.endswith(".")
        assert shown.address or shown.title == "Models that pass"
        assert rows.num_columns > 0
        assert re.fullmatch(r"cc-ray-[a-z0-9_-]+", file_name(shown.title))


def every_same(snapshot: Snapshot, chosen: Chosen) -> list[Written]:
    ids, base = chosen.ids, chosen.base
    study = next(iter(snapshot.studies))["study_id"]
    of: dict[str, Any] = {"ids": ids, "base": base}
    return [
        *(written(name) for name in ("models", "edges", "studies", "study_costs")),
        *(written(name, study=study) for name in ("trials", "failures", "stopped_early", "reports")),
        written("show", "metrics", model=ids[0]),
        written("findings", ids=ids),
        written("passing", at_least={"accuracy": 0.3}, at_most={"size_bytes": 1e9}, search="prun 0.5"),
        written("behaviours", **of),
        written("outcomes", **of),
        written("prediction_changes", model=ids[0], base=base, limit=9),
        *(written("measures", **of, measure=measure, by_class=True) for measure in NAMES),
        written("measures", **of, measure="loss", where="confidence < 0.9 AND label_name <> 'x''y'", label=1),
        written("flip_matrix", ids=[base, *ids]),
        written("calibration", ids=ids),
        written("reliability", ids=ids),
        written("bisections", ids=list(snapshot.models)),
    ]


def test_where_sql_says_that_its_rows_are_the_answers_they_are(snapshot: Snapshot, chosen: Chosen) -> None:
    for each in every_same(snapshot, chosen):
        found = question(each.name).ask(snapshot.views, each.given).tables
        answer = found[each.table or next(iter(found))]
        rows = snapshot.views.sql(each.sql)
        columns = [name for name in rows.column_names if name in answer.column_names]
        answers, shown = (table.select(columns).to_pylist() for table in (answer, rows))

        assert each.same, each.name
        # An answer may have rows of what never happens.
        assert [row for row in answers if not any(alike(row, other) for other in shown)] == [
            row for row in answers if row.get("count") == 0
        ], each.name
        assert len(shown) == len([row for row in answers if row.get("count") != 0]), each.name


def alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    def same(a: Any, b: Any) -> bool:
        if isinstance(a, float) and isinstance(b, float):
            # Divergences are summed in single precision.
            return math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))
        return bool(a == b)

    # The view has divergences only where a step recorded them.
    return all(same(one[name], other[name]) for name in one if not (name.startswith("kl_") and other[name] is None))


def test_a_question_is_written_for_the_command_line_and_the_api() -> None:
    found = written(
        "measures", ids=["it's", "b"], base="c", measure="kl", by_class=True, label=0, between={"b": (0.0, 0.5)}
    )

    assert found.command == (
        "cc-ray ask measures 'ids=it'\"'\"'s' ids=b base=c measure=kl by_class=true label=0 between=b:0.0..0.5"
    )
    assert found.address == (
        "compare/measures?ids=it%27s&ids=b&base=c&measure=kl&by_class=true&label=0&between=b%3A0.0..0.5"
    )
    assert "p.model_id IN ('it''s', 'b')" in found.sql
    assert found.left_out == ["between"] and not found.same


def test_conditions_that_are_not_given_leave_no_trace() -> None:
    assert "WHERE" not in written("front", objectives=["accuracy"]).sql
    assert written("front", objectives=['a"b'], at_most={"size": 5}).sql.endswith('WHERE "size" <= 5')
    assert '"a""b"' in written("front", objectives=['a"b:higher']).sql


@pytest.mark.browser
@pytest.mark.slow
def test_every_card_of_every_page_has_a_menu(screen: Screen) -> None:
    without: set[str] = set()
    for query in PAGES:
        screen.open(query)
        cards = screen.page.locator(".card:visible")
        expect(cards.first).to_be_visible(timeout=20_000)
        for place in range(cards.count()):
            card = cards.nth(place)
            names = set((card.get_attribute("class") or "").split())
            without |= names & set(WITHOUT)
            # Where nothing is shown yet, there is nothing to take.
            if not names & set(WITHOUT) and not card.locator(".empty:visible").count():
                expect(card.get_by_role("button", name="Files, pictures and query")).to_be_visible(timeout=20_000)
    assert without == set(WITHOUT)


@pytest.mark.browser
def test_a_card_gives_its_whole_answer_its_picture_and_its_query(screen: Screen) -> None:
    page = screen.page
    screen.overview()
    button = page.locator(".scatter-card .more")

    button.focus()
    page.keyboard.press("Enter")
    with page.expect_download() as csv:
        page.keyboard.press("Enter")
    assert csv.value.suggested_filename == "cc-ray-front-accuracy-size.csv"
    table = csv.value.path().read_text().splitlines()
    assert "on_front" in table[0] and len(table) > 2
    for format, begins in (("SVG", b"<svg"), ("PNG", b"\x89PNG")):
        button.click()
        with page.expect_download() as picture:
            page.get_by_role("menuitem", name=f"Picture as {format}").click()
        assert picture.value.path().read_bytes().startswith(begins)
    button.click()
    page.get_by_role("menuitem", name="Show query").click()
    expect(page.get_by_role("dialog")).to_contain_text("cc-ray ask front")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert button.evaluate("(button) => button.getRootNode().activeElement === button")

    button.click()
    page.get_by_role("menuitem", name="Show query").click()
    page.get_by_role("button", name="Open on the SQL page").click()
    expect(page.locator(".answer-card tbody tr")).not_to_have_count(0, timeout=20_000)
    assert 'SELECT model_id, name, "accuracy"' in parse_qs(urlsplit(page.url).query)["sql"][0]


@pytest.mark.browser
def test_markup_becomes_shapes_and_texts_that_any_program_reads(screen: Screen) -> None:
    page = screen.page
    screen.open("?page=behaviours&part=classes")
    expect(page.locator(".heat-card td").first).to_be_visible(timeout=20_000)

    page.locator(".heat-card .more").click()
    with page.expect_download() as picture:
        page.get_by_role("menuitem", name="Picture as SVG").click()
    drawn = picture.value.path().read_text()

    cells = page.locator(".heat-card tbody td").count()
    assert drawn.count("<rect") > cells and drawn.count("<text") > cells
    assert "foreignObject" not in drawn
