"""What an operator does with the dashboard, with real models, a real Ray and a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cc_ray.recipe import Recipe
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits
from dashboards.state import short
from tests.dashboards.screen import Dashboard
from tests.dashboards.serving import serving

pytestmark = [pytest.mark.browser, pytest.mark.slow]
BASE = Recipe("resnet").model_ids(Digits().task_id)[0]
SLOW_MS = 120_000


@pytest.fixture
def operated(chromium: str, digits_store: Store, tmp_path: Path) -> Iterator[Dashboard]:
    """A dashboard over one real base model; without a login, who asks from this machine is an operator."""
    with serving(digits_store.root, tmp_path) as served:
        yield Dashboard(served.url, digits_store)


def start(page: Page, *, name: str, operation: str, field: str, values: str) -> None:
    """Fill in the form for the selected model, and start it once its plan is there."""
    page.locator(".branch-add").select_option(operation)
    page.get_by_label(f"{field} of step 1").press_sequentially(values)
    page.get_by_label("Name").fill(name)
    expect(page.locator(".branch-plan h3")).to_contain_text(name, timeout=SLOW_MS)
    page.locator("[data-do=branch-start]").click()
    page.wait_for_function(f"() => location.search.includes('study={name}')")


@pytest.mark.timeout(600)
def test_a_model_is_compressed_further_and_a_study_is_stopped(browser: Browser, operated: Dashboard) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(SLOW_MS)
    state = page.locator(".report-card h2 .state")
    page.goto(f"{operated.url}?selection={short(BASE)}")
    page.locator(".offer").click()

    page.locator(".branch-add").select_option("magnitude_pruning")
    page.get_by_label("sparsity of step 1").press_sequentially("2")
    expect(page.locator(".branch-field .bad")).to_have_text("2.0: input should be less than 1", timeout=SLOW_MS)
    expect(page.get_by_label("sparsity of step 1")).to_be_focused()
    page.get_by_label("sparsity of step 1").fill("0.5")
    page.get_by_label("levels of step 1").press_sequentially("stem: 0.2\nlinear")
    expect(page.locator(".branch-field .bad")).to_have_text("'linear' is no name: value", timeout=SLOW_MS)
    expect(page.get_by_label("levels of step 1")).to_have_value("stem: 0.2\nlinear")
    page.get_by_label("levels of step 1").press_sequentially(": 0.3")
    expect(page.locator(".branch-plan code")).to_contain_text(": 0.3})", timeout=SLOW_MS)
    page.locator("[data-do=branch-drop]").click()
    start(page, name="pruned", operation="magnitude_pruning", field="sparsity", values="0.5")
    expect(state).to_have_text("finished", timeout=SLOW_MS)
    page.locator(".trials-table tr[data-do=open]").click()
    expect(page.locator(".details .facts")).to_contain_text("pruned", timeout=SLOW_MS)

    page.locator(".offer").click()
    start(page, name="long", operation="fine_tune", field="epochs", values="5000")
    expect(state).to_have_text("running", timeout=SLOW_MS)
    page.get_by_role("tab", name="Cluster").click()
    expect(page.get_by_label("Running steps")).to_contain_text("fine_tune(epochs=5000", timeout=SLOW_MS)
    page.locator("[data-key=run-stop]").click()
    page.locator("[data-key=run-yes]").click()
    expect(state).to_have_text("stopped", timeout=SLOW_MS)
    expect(page.locator(".report-card .facts").first).to_contain_text("stopped by an operator")
    page.get_by_role("tab", name="Log").click()
    expect(page.locator(".log")).to_contain_text("stopped by an operator", timeout=SLOW_MS)
    with page.expect_download() as saved:
        page.locator("[data-do=log-save]").click()
    assert saved.value.suggested_filename == "long.log" and "1 trials" in saved.value.path().read_text()
    page.locator("[data-do=run-resume]").click()
    expect(state).to_have_text("running", timeout=SLOW_MS)
    page.locator("[data-key=run-stop]").click()
    page.locator("[data-key=run-yes]").click()
    expect(state).to_have_text("stopped", timeout=SLOW_MS)
