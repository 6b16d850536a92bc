"""Light and dark: chosen in the header, kept by the browser, followed by markup and figures alike."""

import pytest
from playwright.sync_api import Browser, expect

from dashboards.theme import PAINTED, SEQUENTIAL, token
from tests.dashboards.screen import Dashboard, Screen

_POINTS = """
() => [...Bokeh.documents[0]._all_models.values()]
  .filter((model) => model.type === "ColumnDataSource" && model.data.tooltip)
  .map((source) => [...source.data.color])
"""
_AXIS = """
() => [...Bokeh.documents[0]._all_models.values()].filter((model) => model.type === "LinearAxis")
  .map((axis) => axis.major_label_text_color.value ?? axis.major_label_text_color)
"""
_GROUND = "() => getComputedStyle(document.querySelector('header')).backgroundColor"


def _rgb(name: str, *, dark: bool) -> str:
    colour = token(name, dark=dark)
    return "rgb({}, {}, {})".format(*(int(colour[start : start + 2], 16) for start in (1, 3, 5)))


def test_a_tab_turns_dark_and_back_without_asking_for_anything_and_stays_so(screen: Screen) -> None:
    screen.overview()
    light = screen.page.evaluate(_POINTS)
    assert set(light[0]) <= set(SEQUENTIAL)
    screen.page.click(".look-switch")
    expect(screen.page.locator(".look-switch")).to_have_attribute("title", "Colours: light. Click for dark.")
    screen.page.click(".look-switch")
    dark = [[PAINTED[colour] for colour in colours] for colours in light]
    assert screen.page.evaluate(_POINTS) == dark
    assert set(screen.page.evaluate(_AXIS)) == {token("ink-2", dark=True)}
    assert screen.page.evaluate(_GROUND) == _rgb("surface", dark=True)

    # What Python sends anew is painted, too; the address knows nothing of all this.
    screen.page.select_option("[data-name=colour]", "size_bytes")
    screen.page.wait_for_function(f"(before) => JSON.stringify(({_POINTS})()) !== JSON.stringify(before)", arg=dark)
    others = {colour for colours in screen.page.evaluate(_POINTS) for colour in colours}
    assert others <= {PAINTED[colour] for colour in SEQUENTIAL}
    assert "dark" not in screen.page.url

    screen.overview()
    assert screen.page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    assert screen.page.evaluate(_POINTS) == dark
    screen.page.click(".look-switch")
    assert screen.page.evaluate(_POINTS) == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_without_a_choice_a_tab_is_as_the_system(browser: Browser, dashboard: Dashboard, scheme: str) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    page = context.new_page()
    page.goto(dashboard.url + "?page=sql")
    assert page.evaluate(_GROUND) == _rgb("surface", dark=scheme == "dark")
    context.close()
