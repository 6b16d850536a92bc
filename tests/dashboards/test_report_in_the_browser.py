"""A report as its reader has it: a file, opened without a server and without a network."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboards.report.document import LAST, SECTIONS, document
from dashboards.report.subject import Subject
from dashboards.snapshot import Snapshot
from dashboards.theme import token

pytestmark = pytest.mark.browser

RANGE = "() => Bokeh.documents[0].roots().map((figure) => figure.x_range.end - figure.x_range.start)"


@pytest.fixture(scope="module")
def file(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = [row for row in snapshot.models.values() if row["operation"]]
    damaged = [row["model_id"] for row in sorted(made, key=lambda row: row["accuracy"])[:3]]
    subject = Subject.of(snapshot.views, store="store", made_at=datetime(2026, 11, 26, tzinfo=UTC), selection=damaged)
    found = tmp_path_factory.mktemp("report") / "report.html"
    found.write_text(document(subject))
    return found


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    """The file in a browser without a network; at the end nothing may have gone wrong in it."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    page, wrong = context.new_page(), list[str]()
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.goto(file.as_uri())
    expect(page.locator(".stage canvas").first).to_be_visible()
    yield page
    context.close()
    assert wrong == []


def test_sections_fit_and_the_contents_lead_to_them(page: Page) -> None:
    for key in (*SECTIONS, *LAST):
        page.locator(f'.contents a[href="#{key}"]').click()
        expect(page.locator(f"#{key} .body > *").first).to_be_visible()
    for width in (1440, 1024):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_models_are_marked_told_and_zoomed_in_the_plots(page: Page) -> None:
    page.locator(".stage").nth(1).scroll_into_view_if_needed()
    marked = page.evaluate(
        """() => ["map", "trade-offs"].map((name) => {
          const { selected, data } = Bokeh.documents[0].get_model_by_name(`models of ${name}`)
          return selected.indices.map((index) => data.model_id[index])
        })"""
    )
    assert marked[0] == marked[1]
    assert len(marked[0]) == 4
    at = page.evaluate(
        """() => {
          const { data, selected } = Bokeh.documents[0].get_model_by_name("models of trade-offs")
          const view = Bokeh.index.roots[1], { x_scale, y_scale } = view.frame, place = selected.indices[0]
          const box = view.canvas_view.el.getBoundingClientRect()
          return [box.left + x_scale.compute(data.x[place]), box.top + y_scale.compute(data.y[place])]
        }"""
    )
    page.mouse.move(*at)
    expect(page.get_by_text("Accuracy", exact=True).first).to_be_visible()

    before = page.evaluate(RANGE)
    box = page.locator(".stage .bk-CartesianFrame").nth(1).bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.8 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_function(f"(before) => ({RANGE})()[1] < 0.6 * before", arg=before[1])


def test_tables_sort_words_are_explained_and_pictures_enlarged(page: Page) -> None:
    head = page.locator("#metrics .sortable th").nth(1)
    values = "(cells) => cells.map((cell) => Number(cell.dataset.value))"
    head.get_by_role("button").focus()

    page.keyboard.press("Enter")

    expect(head).to_have_attribute("aria-sort", "descending")
    falling = page.locator("#metrics .sortable").first.locator("td:nth-child(2)").evaluate_all(values)
    assert falling == sorted(falling, reverse=True)
    page.locator("#behaviours .term").first.focus()
    expect(page.locator(".tip")).to_be_visible()
    page.locator("figure .zoom").first.click()
    expect(page.locator("figure.large")).to_have_count(1)


def test_a_model_that_is_pointed_at_is_ringed(page: Page) -> None:
    page.locator("#recipes tbody tr").nth(1).hover()

    page.wait_for_function("() => Bokeh.documents[0].get_model_by_name('ring of map').data.x.length === 1")


def test_plots_are_dark_where_the_page_is_and_light_on_paper(page: Page) -> None:
    are = """(colour) => [...Bokeh.documents[0]._all_models.values()].filter((model) => model.type === "LinearAxis")
      .every((axis) => (axis.major_label_text_color.value ?? axis.major_label_text_color) === colour)"""
    light, dark = token("ink-2"), token("ink-2", dark=True)

    page.emulate_media(color_scheme="dark")
    page.wait_for_function(are, arg=dark)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(are, dark), "on the screen all is as it was"
    page.emulate_media(color_scheme="light")
    page.wait_for_function(are, arg=light)


def test_printed_plots_are_pictures_of_what_is_seen(page: Page) -> None:
    page.evaluate("dispatchEvent(new Event('beforeprint'))")

    images = page.locator(".stage > img").evaluate_all("(all) => all.map((image) => image.src.slice(0, 15))")
    assert images == ["data:image/png;"] * 2
