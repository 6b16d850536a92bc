"""Tabs that change to another store, and questions that are cancelled because they take too long."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

import cc_ray
from cc_ray.store import Store
from dashboards.session import ASKING
from tests.dashboards.screen import Dashboard, Screen
from tests.dashboards.serving import free_port, started

SLOW_MS = 20_000


@pytest.fixture(scope="module")
def dashboard(chromium: str, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard of two stores in a process of its own, in which some questions take days."""
    folder = tmp_path_factory.mktemp("two")
    first = Store(shutil.copytree(store.root, folder / "first"))
    other = cc_ray.open(folder / "other", create=True)
    other.log_model("elsewhere", task="a task", metrics={"accuracy": 0.9})
    port = free_port()
    program = ["-m", "tests.dashboards.slow_server", str(port), str(first.root), str(folder / "other")]
    with started(program, port, folder) as running:
        yield Dashboard(running.url, first)


def test_a_tab_changes_to_another_store_and_keeps_what_fits(screen: Screen) -> None:
    page, model = screen.page, screen.dashboard.store.read("models")["model_id"][0].as_py()
    screen.open(f"?arrange=step&side=table&selection={model[:10]}")
    beside = page.context.new_page()
    beside.goto(screen.dashboard.url + "?page=sql")

    page.get_by_role("button", name="first").click(timeout=SLOW_MS)
    expect(page.get_by_role("menuitemradio", name="first 24 models")).to_have_attribute("aria-checked", "true")
    expect(page.get_by_role("menuitemradio", name="other 1 model")).to_be_visible(timeout=SLOW_MS)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")

    expect(page.locator(".stores-button")).to_have_text("other ▾", timeout=SLOW_MS)
    expect(page.locator(".side-card").get_by_text("elsewhere").first).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".status")).to_contain_text("1 model", timeout=SLOW_MS)
    page.wait_for_function("() => !location.search.includes('selection')")
    assert all(part in page.url for part in ("store=other", "arrange=step", "side=table"))

    page.get_by_role("link", name="SQL").click()
    page.wait_for_function("() => location.search.startsWith('?store=other&page=sql')", timeout=SLOW_MS)
    with page.expect_request("**/api/stores/other/v1/sql"), page.expect_download() as saved:
        page.get_by_label("SQL query").fill("SELECT count(*) AS n FROM models")
        page.get_by_role("button", name="Download CSV").click()
    assert Path(saved.value.path()).read_text().split() == ["n", "1"]

    beside.bring_to_front()
    expect(beside.locator(".status")).to_contain_text("24 models", timeout=SLOW_MS)
    page.go_back()
    page.go_back()
    expect(page.locator(".stores-button")).to_have_text("first ▾", timeout=SLOW_MS)


def test_slow_questions_are_cancelled_and_asked_again(screen: Screen) -> None:
    page = screen.page
    screen.open("?page=behaviours&part=slices")
    found = page.locator(".found-card")

    # Once more than there are threads: each is free again.
    for _ in range(ASKING._max_workers + 1):
        found.get_by_role("button", name="Cancel").click(timeout=SLOW_MS)
        expect(found.locator(".cancelled")).to_be_visible(timeout=SLOW_MS)
        expect(found.locator(".waiting")).to_have_count(0, timeout=SLOW_MS)
        found.get_by_role("button", name="Run again").click()
    expect(found.locator(".waiting")).to_be_visible(timeout=SLOW_MS)

    screen.open("?page=layers&layer_view=similarity")
    page.locator(".cka-card").get_by_role("button", name="Cancel").click(timeout=SLOW_MS)
    expect(page.locator(".cka-card .cancelled")).to_be_visible(timeout=SLOW_MS)

    screen.open("?page=studies")
    page.locator(".report-card").get_by_role("button", name="Cancel").click(timeout=SLOW_MS)
    expect(page.locator(".report-card .cancelled")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("link", name="Overview").click()
    expect(page.locator(".details .content table").first).to_be_visible(timeout=SLOW_MS)
