"""What a user sees and does on the Layers page, in a real browser on the real Ray Serve application."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, expect

from cc_ray import compare
from cc_ray.views import open_views
from dashboards.state import short
from tests.dashboards.screen import Dashboard, Screen

pytestmark = pytest.mark.browser


_UNCUT = """
(field) => {
  if (field.options) field.selectedOptions[0].text = "a long name ".repeat(8)
  const { left, right } = field.getBoundingClientRect()
  for (let up = field.parentElement; up; up = up.parentElement) {
    const box = up.getBoundingClientRect()
    const cuts = getComputedStyle(up).overflowX !== "visible"
    if (cuts && (left < box.left - 1 || right > box.right + 1)) return false
  }
  return true
}
"""


def family(dashboard: Dashboard, count: int) -> tuple[str, list[str]]:
    """The base model "resnet" and some of the models that come from it, as the address has them."""
    rows = compare.models(open_views(dashboard.store.root)).to_pylist()
    base = next(row["model_id"] for row in rows if row["parent"] is None and row["base"] == "resnet")
    children = [short(row["model_id"]) for row in rows if row["root"] == base and row["parent"]]
    return short(base), children[:count]


def open_layers(screen: Screen, more: str = "", count: int = 2) -> tuple[str, list[str]]:
    base, ids = family(screen.dashboard, count)
    screen.open(f"?page=layers&selection={','.join(ids)}{more}")
    expect(screen.page.locator(".layers .tabs button").first).to_be_visible(timeout=20_000)
    return base, ids


def rows(screen: Screen) -> Locator:
    return screen.page.locator("table.tree tbody tr")


def chosen(screen: Screen, name: str) -> str:
    return parse_qs(urlsplit(screen.page.url).query).get(name, [""])[0]


def wait_for(screen: Screen, name: str, value: str) -> None:
    screen.page.wait_for_function(
        "([name, value]) => (new URLSearchParams(location.search).get(name) ?? '') === value", arg=[name, value]
    )


def test_a_model_is_left_out_and_another_base_is_chosen(screen: Screen) -> None:
    _, ids = open_layers(screen)
    expect(screen.page.locator("table.tree th.model")).to_have_count(3)

    screen.page.locator(f"[data-do=drop][data-key^=drop-{ids[1]}]").click()
    expect(screen.page.locator("table.tree th.model")).to_have_count(2)
    screen.page.locator("select[data-name=base]").select_option(index=1)

    screen.page.wait_for_function("() => location.search.includes('base=')")
    expect(screen.page.locator("table.tree th.model")).not_to_have_count(0)


def test_modules_are_unfolded_by_the_mouse_and_picked(screen: Screen) -> None:
    open_layers(screen)
    expect(rows(screen)).not_to_have_count(0)

    screen.page.locator("[data-do=refold]").click()
    expect(screen.page.locator("[data-do=fold][aria-expanded=false]")).not_to_have_count(0)
    folded = rows(screen).count()
    screen.page.locator("[data-do=fold][aria-expanded=false]").first.click()
    expect(rows(screen)).not_to_have_count(folded)
    rows(screen).nth(1).click()

    wait_for(screen, "layer", str(rows(screen).nth(1).get_attribute("data-path")))
    expect(rows(screen).nth(1)).to_have_class("picked")


def test_the_tree_is_walked_unfolded_and_picked_by_the_keyboard(screen: Screen) -> None:
    open_layers(screen)
    screen.page.locator("[data-do=refold]").click()
    expect(screen.page.locator("[data-do=fold][aria-expanded=false]")).not_to_have_count(0)
    folded = rows(screen).count()
    rows(screen).first.focus()

    screen.page.keyboard.press("ArrowDown")
    focused = screen.page.locator("table.tree tr:focus")
    expect(focused).to_have_attribute("data-path", "blocks")
    screen.page.keyboard.press("ArrowRight")
    expect(rows(screen)).not_to_have_count(folded)
    expect(focused).to_have_attribute("data-path", "blocks")
    screen.page.keyboard.press("ArrowDown")
    expect(focused).to_have_attribute("data-path", "blocks.0")
    screen.page.keyboard.press("ArrowLeft")
    expect(focused).to_have_attribute("data-path", "blocks")
    screen.page.keyboard.press("ArrowLeft")
    expect(rows(screen)).to_have_count(folded)
    screen.page.keyboard.press("Enter")

    wait_for(screen, "layer", "blocks")


def test_modules_are_found_by_a_pattern_and_a_wrong_one_is_explained(screen: Screen) -> None:
    open_layers(screen)
    field = screen.page.locator(".tree-card input[data-name=layers]")

    field.fill("CONV2")
    field.press("Enter")
    expect(rows(screen)).to_have_count(3)
    assert all("conv2" in text for text in screen.page.locator("table.tree .module").all_inner_texts())
    field.fill("conv[")
    field.press("Enter")

    expect(screen.page.locator(".tree-card .failure")).to_contain_text("no regular expression")


@pytest.mark.parametrize(("visual", "mark"), [("sparsity", ".stack"), ("weights", "svg"), ("activations", "svg")])
def test_modules_show_what_is_visualised(screen: Screen, visual: str, mark: str) -> None:
    open_layers(screen, "&layer=head&visual=" + ("weights" if visual == "sparsity" else "sparsity"))

    screen.page.locator(f"[data-name=visual][data-value={visual}]").click()

    picked = screen.page.locator("table.tree .picked")
    expect(picked.locator(mark)).to_have_count(3)
    expect(screen.page.locator(f".weights-card .large {mark}")).to_have_count(3)
    wait_for(screen, "visual", "" if visual == "sparsity" else visual)


def test_the_histogram_of_the_picked_module_is_enlarged_and_tells_what_is_hovered(screen: Screen) -> None:
    open_layers(screen, "&visual=weights&layer=blocks.0.conv1")
    small = screen.page.locator("table.tree tr:not(.picked) svg").first
    large = screen.page.locator("table.tree tr.picked svg").first
    expect(large).to_be_visible(timeout=20_000)

    assert large.bounding_box()["height"] > 2 * small.bounding_box()["height"]  # type: ignore[index]
    screen.page.locator(".weights-card svg rect").nth(16).hover()

    expect(screen.page.locator(".tip:popover-open")).to_contain_text(re.compile(r" to .*%"))


def test_modules_are_sorted_by_a_models_column(screen: Screen) -> None:
    _, ids = open_layers(screen)
    head = screen.page.locator(f"[data-do=sort][data-model='{ids[0]}']")

    head.click()
    expect(screen.page.locator("table.tree.flat")).to_be_visible()
    descending = [rows(screen).nth(place).get_attribute("data-path") for place in range(3)]
    wait_for(screen, "layer_sort", ids[0])
    head.click()
    expect(screen.page.locator("th[aria-sort=ascending]")).to_be_visible()
    head.click()

    expect(screen.page.locator("table.tree.flat")).to_have_count(0)
    assert len(set(descending)) == 3


def test_a_term_is_explained_to_the_keyboard(screen: Screen) -> None:
    open_layers(screen)

    screen.page.locator(".tree-card .term").first.focus()

    expect(screen.page.locator(".tip:popover-open")).to_contain_text("exactly zero")
    screen.page.keyboard.press("Escape")
    expect(screen.page.locator(".tip:popover-open")).to_have_count(0)


def test_views_stay_in_the_address(screen: Screen) -> None:
    open_layers(screen)

    screen.page.get_by_role("tab", name="Heat map").click()
    expect(screen.page.locator("table.grid")).to_be_visible()
    screen.page.reload()

    expect(screen.page.locator("table.grid")).to_be_visible(timeout=20_000)
    expect(screen.page.get_by_role("tab", name="Heat map")).to_have_attribute("aria-selected", "true")
    screen.page.get_by_role("tab", name="Modules").click()
    expect(screen.page.locator("table.tree")).to_be_visible()
    expect(screen.page.locator("table.grid")).to_be_hidden()


def test_a_cell_of_the_heat_map_leads_to_its_histograms_and_its_model(screen: Screen) -> None:
    _, ids = open_layers(screen, "&layer_view=heat&heat=relative_change")
    row = screen.page.locator("table.grid tbody tr[data-row='blocks.1.conv1']")
    expect(row).to_be_visible(timeout=20_000)
    column = screen.page.locator(f"table.grid thead th[data-column='{ids[1]}']").evaluate("(th) => th.cellIndex")

    row.locator("td").nth(column - 1).click()

    detail = screen.page.locator(".cell-card")
    expect(detail.locator("h2")).to_contain_text("blocks.1.conv1")
    expect(detail.locator(".content svg")).to_have_count(4)
    assert (chosen(screen, "layer"), chosen(screen, "other")) == ("blocks.1.conv1", ids[1])
    detail.locator("[data-do=open]").click()
    expect(screen.page.locator("table.tree .picked")).to_have_attribute("data-path", "blocks.1.conv1")
    assert screen.addressed() == [ids[1]]


def test_the_heat_map_is_sorted_searched_and_walked_through(screen: Screen) -> None:
    _, ids = open_layers(screen, "&layer_view=heat")
    heads = screen.page.locator("table.grid thead th[data-column]")
    expect(heads).not_to_have_count(0, timeout=20_000)
    every, names = heads.count(), [head.get_attribute("data-column") for head in heads.all()]

    screen.page.locator("table.grid tbody [data-do=sort-columns]").nth(2).click()
    screen.page.wait_for_function("() => location.search.includes('model_sort')")
    expect(heads).to_have_count(every)
    screen.page.locator(f"table.grid thead [data-by='{ids[0]}']").click()
    expect(screen.page.locator(f"th[data-column='{ids[0]}'][aria-sort=descending]")).to_be_visible()
    search = screen.page.locator("input[data-name=model_search]")
    search.fill("DYNAMIC")
    search.press("Enter")
    expect(heads).to_have_count(1)
    expect(heads).to_have_attribute("data-name", re.compile("dynamic"))

    screen.page.locator("table.grid td[tabindex='0']").focus()
    screen.page.keyboard.press("ArrowDown")
    expect(screen.page.locator(".tip:popover-open")).to_contain_text("·")
    screen.page.keyboard.press("Enter")
    screen.page.wait_for_function("() => location.search.includes('other=')")
    assert chosen(screen, "other") in names


@pytest.mark.parametrize(
    "measure", ["effective_bits", "sqnr_db", "output_sqnr_db", "relative_error", "cosine", "cka", "sparsity"]
)
def test_the_heat_map_shows_the_measure_chosen(screen: Screen, measure: str) -> None:
    open_layers(screen, "&layer_view=heat&heat=relative_change", count=1)
    expect(screen.page.locator("table.grid td").first).to_be_visible(timeout=20_000)

    screen.page.locator("select[data-name=heat]").select_option(measure)

    wait_for(screen, "heat", "" if measure == "sparsity" else measure)
    expect(screen.page.locator(".heat-card .legend")).to_be_visible()
    expect(screen.page.locator("table.grid td[class^=g]")).not_to_have_count(0)


def test_sensitivity_is_shown_by_layer_and_level_with_its_curves(screen: Screen) -> None:
    open_layers(screen, "&layer_view=sensitivity")
    grid = screen.page.locator(".probe-card table.grid")
    expect(grid).to_be_visible(timeout=20_000)
    expect(grid.locator("thead th[data-column]")).to_have_count(3)
    expect(screen.page.locator(".curve-card canvas").first).to_be_visible(timeout=20_000)

    last = grid.locator("tbody tr").first
    assert last.get_attribute("data-row") == "head"
    last.locator("td").nth(1).click()

    expect(screen.page.locator(".curve-card h2")).to_contain_text("head")
    expect(screen.page.locator(".bisection")).to_contain_text("No smaller set does")
    grid.locator("thead [data-do=sort-rows]").first.click()
    expect(grid.locator("th[aria-sort=descending]")).to_have_count(1)


def test_layers_of_two_models_are_compared_with_each_other(screen: Screen) -> None:
    _, ids = open_layers(screen, "&layer_view=similarity")
    grid = screen.page.locator(".cka-card table.grid")
    expect(grid).to_be_visible(timeout=20_000)
    layers = grid.locator("tbody tr").count()
    expect(grid.locator("td")).to_have_count(layers * layers)

    screen.page.locator("select[data-name=other]").select_option(ids[1])
    wait_for(screen, "other", ids[1])
    grid.locator("tbody tr[data-row=head] td").first.click()

    expect(screen.page.locator(".nearest-card h2")).to_contain_text("head")
    expect(screen.page.locator(".nearest-card tbody tr")).to_have_count(min(layers, 12))


@pytest.mark.parametrize("view", ["modules", "heat", "sensitivity", "similarity"])
@pytest.mark.parametrize("size", [(1024, 768), (1920, 1080)])
def test_nothing_is_cut_off_at_the_edge_of_the_window(screen: Screen, view: str, size: tuple[int, int]) -> None:
    width, height = size
    screen.page.set_viewport_size({"width": width, "height": height})
    open_layers(screen, f"&layer_view={view}")
    card = screen.page.locator(".card:visible")
    expect(card.nth(1)).to_be_visible(timeout=20_000)

    for bar in screen.page.locator(".card-head:visible").all():
        for field in bar.locator("select, input").all():
            # Within all that could cut it off.
            assert field.evaluate(_UNCUT), field.get_attribute("data-name")
    for box in (found.bounding_box() for found in card.all()):
        assert box
        assert box["width"] > 240
        assert box["x"] + box["width"] <= width
        assert box["y"] + box["height"] <= height
