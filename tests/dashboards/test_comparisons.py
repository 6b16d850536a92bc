"""Comparisons saved from the dashboard, as an operator and a reader see them in a real browser."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page, expect

from cc_ray import compare
from cc_ray.views import open_views
from dashboards.state import short
from dashboards.user import NAME_HEADER, OPERATOR, ROLE_HEADER
from tests.dashboards.screen import Dashboard, Screen

pytestmark = pytest.mark.browser
EVIL = "<img src=x onerror=alert(1)> & more"


@pytest.fixture
def reader(browser: Browser, dashboard: Dashboard) -> Iterator[Screen]:
    """The tab of somebody who asks from another machine, and says to be more than that."""
    headers = {"X-Forwarded-For": "203.0.113.7", ROLE_HEADER: OPERATOR, NAME_HEADER: "ada"}
    context = browser.new_context(viewport={"width": 1440, "height": 900}, extra_http_headers=headers)
    yield Screen(context.new_page(), dashboard)
    context.close()


def opened(page: Page) -> None:
    button = page.get_by_role("button", name="Comparisons")
    expect(button).to_be_visible(timeout=20_000)
    button.click()
    expect(page.get_by_role("dialog", name="Comparisons")).to_be_visible()


def test_an_operator_saves_changes_and_deletes_and_a_reader_opens(screen: Screen, reader: Screen) -> None:
    page, other = screen.page, reader.page
    models = compare.models(open_views(screen.dashboard.store.root))["model_id"].to_pylist()
    screen.open(f"?page=sql&selection={short(models[1])},{short(models[2])}")

    opened(page)
    page.get_by_label("Name").fill(EVIL)
    page.get_by_label("Note").fill("one\ntwo")
    page.get_by_role("button", name="Save what is on the screen").click()
    saved = page.locator("dialog.saved article")
    expect(saved).to_have_count(1, timeout=20_000)
    expect(saved).to_contain_text(EVIL)
    expect(saved).to_contain_text("SQL · 2 models")

    saved.get_by_role("button", name="Edit").click()
    saved.get_by_label("Name").fill("Two of them")
    saved.get_by_role("button", name="Save changes").click()
    expect(saved.get_by_role("button", name="Two of them")).to_be_visible(timeout=20_000)
    page.keyboard.press("Escape")
    button = page.get_by_role("button", name="Comparisons 1")
    assert button.evaluate("(button) => button.getRootNode().activeElement === button")

    reader.open("?page=studies")
    opened(other)
    expect(other.get_by_label("Name")).to_have_count(0)
    expect(other.get_by_role("button", name="Delete")).to_have_count(0)
    expect(other.locator("dialog.saved .note")).to_have_text("one\ntwo")
    other.get_by_role("button", name="Two of them").click()
    other.wait_for_function("() => location.search.includes('page=sql')")
    assert reader.addressed() == [short(models[1]), short(models[2])]

    opened(page)
    saved.get_by_role("button", name="Delete").click()
    saved.get_by_role("button", name="Keep").click()
    saved.get_by_role("button", name="Delete").click()
    saved.get_by_role("button", name="Delete").click()
    expect(saved).to_have_count(0, timeout=20_000)


def test_models_that_are_gone_are_told(screen: Screen) -> None:
    page = screen.page
    kept = screen.dashboard.store
    row = {
        "comparison_id": "a" * 32, "state": "saved", "name": "Old", "note": "", "page": "sql", "models": ["gone"],
        "query": "?page=sql&selection=gone", "base_id": None, "user": "", "at": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    kept.publish("comparison", "old", {"comparisons": [row]})
    screen.open("?page=studies")
    opened(page)

    page.get_by_role("button", name="Old").click(timeout=20_000)

    expect(page.get_by_text("1 of its 1 models is not in the store any more")).to_be_visible(timeout=20_000)
