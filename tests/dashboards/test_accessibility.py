"""Every page and part can be used by whoever sees little or nothing, or uses no pointer."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from cc_ray import compare
from cc_ray.views import open_views
from dashboards.state import short
from tests.dashboards.screen import Screen

pytestmark = pytest.mark.browser

VIEWS = {
    "overview": {
        "?side=details": ".details table",
        "?side=filter&filters=accuracy:0.5..": ".details .brush",
        "?side=table": ".details table.models",
        "?side=insights": ".details .insights",
        "?trade_offs=progress": ".scatter-card canvas",
        "?trade_offs=recipes": ".parallel",
    },
    "behaviours": {
        "?page=behaviours": ".summary-card tbody tr",
        "?page=behaviours&part=classes": ".class-table tbody tr",
        "?page=behaviours&part=instances&only=all": ".gallery figure",
        "?page=behaviours&part=flips": ".matrix tbody tr",
        "?page=behaviours&part=slices": ".found-card tbody tr",
        "?page=behaviours&part=calibration": ".diagram-card svg",
        "?page=behaviours&part=exemplars": ".gallery-card .content",
    },
    "layers": {
        "?page=layers": ".tree-card tbody tr",
        "?page=layers&visual=weights": ".tree-card .histogram",
        "?page=layers&visual=activations": ".tree-card .histogram",
        "?page=layers&layer_view=heat": ".heat-card table.grid",
        "?page=layers&layer_view=sensitivity": ".probe-card table",
        "?page=layers&layer_view=similarity": ".cka-card table.grid",
    },
    "studies and SQL": {
        "?page=studies": ".studies-table tbody tr",
        "?page=sql": ".names-card summary",
    },
}
"""By page: what shows each part, and what is there when it is drawn."""
_GO = """
(query) => { history.pushState({}, "", query); dispatchEvent(new PopStateEvent("popstate")) }
"""
_IDLE = """
() => {
  const parts = (root) => [...root.querySelectorAll("*")]
    .flatMap((one) => [one, ...(one.shadowRoot ? parts(one.shadowRoot) : [])])
  const waits = (one) => one.matches(".busy, .waiting, [role=status]:not(.hint)") && one.getClientRects().length
  return !parts(document).some(waits)
}
"""


def _faults(screen: Screen, **options: object) -> list[str]:
    found = Axe().run(screen.page, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [
        f"{fault['id']}: {node['html'][:200]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def _theme(screen: Screen, name: str) -> None:
    screen.page.evaluate("(name) => { document.documentElement.dataset.theme = name }", name)


@pytest.mark.parametrize("views", VIEWS.values(), ids=VIEWS)
def test_axe_finds_no_serious_fault_on_any_part_in_light_or_dark(screen: Screen, views: dict[str, str]) -> None:
    screen.overview()
    faults: dict[str, list[str]] = {}
    for query, there in views.items():
        screen.page.evaluate(_GO, query)
        expect(screen.page.locator(there).filter(visible=True).first).to_be_visible()
        screen.page.wait_for_function(_IDLE, timeout=30_000)
        _theme(screen, "light")
        faults[query] = _faults(screen)
        _theme(screen, "dark")
        # All else is the same.
        faults[query] += _faults(screen, runOnly=["color-contrast"])
    assert {query: found for query, found in faults.items() if found} == {}


def test_models_are_chosen_and_explained_by_the_keyboard_alone(screen: Screen) -> None:
    screen.overview("?side=table")
    page = screen.page

    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.id") == "content"

    rows = page.locator("table.models tbody tr")
    expect(rows.first).to_be_visible()
    first, second = (rows.nth(place).get_attribute("data-model") for place in (0, 1))
    assert first and second
    rows.nth(0).focus()
    page.keyboard.press("Enter")
    assert screen.wait_for_selection(1) == [short(first)]
    expect(page.locator(f"tr[data-model='{first}']")).to_be_focused()
    rows.nth(1).focus()
    page.keyboard.press("Shift+Enter")
    assert screen.wait_for_selection(2) == [short(first), short(second)]
    in_map, in_scatter = screen.marked()
    assert in_map == in_scatter == sorted([first, second])

    page.get_by_role("button", name="Select all").focus()
    page.keyboard.press("Enter")
    screen.wait_for_selection(compare.models(open_views(screen.dashboard.store.root)).num_rows)

    term = page.locator(".controls .term").first
    term.focus()
    expect(page.locator(".controls .tip")).to_contain_text("lineage")
    assert "lineage" in (term.get_attribute("aria-description") or "")
    page.keyboard.press("Escape")
    expect(page.locator(".controls .tip")).to_be_hidden()
    expect(page.locator(".bk-Figure[aria-label^='Model Map']")).to_have_count(1)
