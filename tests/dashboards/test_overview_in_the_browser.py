"""What a user does on the Overview page, in a real browser on the real Ray Serve application."""

import re

import pytest
from playwright.sync_api import Locator, expect

from cc_ray import compare
from cc_ray.views import Views, open_views
from dashboards.state import short
from tests.dashboards.screen import Dashboard, Screen

pytestmark = pytest.mark.browser
SLOW = 30_000
PASSING = """
() => {
  const filters = [...Bokeh.documents[0]._all_models.values()].filter((model) => model.type === "BooleanFilter")
  const views = filters.filter((filter) => filter.name !== "labels")
  return views.map((view) => view.booleans?.filter((passes) => passes).length ?? null)
}
"""


@pytest.fixture
def views(dashboard: Dashboard) -> Views:
    return open_views(dashboard.store.root)


def drag(screen: Screen, part: Locator, start: float, end: float) -> None:
    """Drag over shares of a part's width."""
    box = part.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    screen.page.mouse.move(box["x"] + start * box["width"], y)
    screen.page.mouse.down()
    screen.page.mouse.move(box["x"] + end * box["width"], y, steps=4)
    screen.page.mouse.up()


def test_brushed_histograms_filter_models_and_are_in_the_address(screen: Screen, views: Views) -> None:
    screen.overview("?side=filter")
    screen.page.locator("[data-do=add-filter][data-value=accuracy]").click()
    screen.page.locator("select[data-do=add-filter]").select_option("size_bytes")
    expect(screen.page.locator(".brush")).to_have_count(2, timeout=SLOW)

    drag(screen, screen.page.locator("[data-brush=accuracy]"), 0.5, 1.0)
    screen.page.wait_for_function("() => /accuracy%3A0/.test(location.search)")

    values = compare.models(views)["accuracy"].to_pylist()
    middle = (min(values) + max(values)) / 2
    told = screen.page.locator(".passed")
    expect(told).to_contain_text(f"of {len(values)} models pass", timeout=SLOW)
    count = int(told.locator("b").inner_text())
    assert count == pytest.approx(sum(value >= middle for value in values), abs=1)
    screen.page.wait_for_function(f"() => ({PASSING})().every((passing) => passing === {count})", timeout=SLOW)

    screen.page.reload()
    expect(told.locator("b")).to_have_text(str(count), timeout=SLOW)
    screen.page.locator("[data-do=drop-filter][data-name=accuracy]").click()
    expect(told).to_have_count(0, timeout=SLOW)
    screen.page.locator("[data-do=clear-filters]").click()
    expect(screen.page.locator(".brush")).to_have_count(0, timeout=SLOW)


def test_models_that_do_not_pass_cannot_be_picked(screen: Screen, views: Views) -> None:
    kept = compare.passing(views, at_least={"accuracy": 0.8})
    assert 0 < len(kept) < compare.models(views).num_rows
    screen.overview("?filters=accuracy:0.8..")
    expect(screen.page.locator(".passed b")).to_have_text(str(len(kept)), timeout=SLOW)

    screen.brush("scatter-card", 0.99, 0.99)

    assert set(screen.wait_for_selection()) <= {short(id) for id in kept}


def test_a_filter_leaves_the_selection_only_what_passes(screen: Screen, views: Views) -> None:
    ids = compare.models(views)["model_id"].to_pylist()
    kept = compare.passing(views, at_least={"accuracy": 0.8})
    chosen = ",".join(map(short, ids))

    screen.overview(f"?filters=accuracy:0.8..&selection={chosen}")
    selected = "count => new URLSearchParams(location.search).get('selection').split(',').length === count"
    screen.page.wait_for_function(selected, arg=len(kept), timeout=SLOW)

    assert sorted(screen.wait_for_selection(len(kept))) == sorted(map(short, kept))


def test_a_filter_that_matches_nothing_shows_nothing_and_says_so(screen: Screen) -> None:
    screen.overview("?side=filter&filters=accuracy:2..")

    expect(screen.page.locator(".passed")).to_contain_text("No model passes", timeout=SLOW)
    screen.page.wait_for_function(f"() => ({PASSING})().every((passing) => passing === 0)", timeout=SLOW)


def test_models_are_searched_by_the_words_of_their_recipes(screen: Screen, views: Views) -> None:
    found = compare.passing(views, search="pruning sparsity=0")
    screen.overview()
    field = screen.page.locator("input[data-name=search]")

    field.fill("pruning sparsity=0")
    field.press("Enter")

    expect(screen.page.locator(".passed b")).to_have_text(str(len(found)), timeout=SLOW)
    screen.page.wait_for_function("() => location.search.includes('search=')")


def test_the_table_sorts_and_selects_with_the_plots(screen: Screen, views: Views) -> None:
    screen.overview("?side=table")
    rows = screen.page.locator(".models tbody tr")
    expect(rows).not_to_have_count(0, timeout=SLOW)

    screen.page.locator(".sorting[data-value='-accuracy']").click()
    expect(screen.page.locator(".models th[aria-sort=descending]")).to_contain_text("Accuracy", timeout=SLOW)
    best = max(compare.models(views).to_pylist(), key=lambda row: row["accuracy"])
    assert rows.first.get_attribute("data-model") == best["model_id"]
    rows.nth(0).click()
    rows.nth(2).click(modifiers=["Shift"])

    chosen = screen.wait_for_selection(2)
    assert chosen[0] == short(best["model_id"])
    expect(screen.page.locator(".models tr[aria-selected=true]")).to_have_count(2, timeout=SLOW)
    assert sorted(short(id) for id in screen.marked()[0]) == sorted(chosen)


def test_the_tables_columns_are_chosen(screen: Screen) -> None:
    screen.overview("?side=table")
    screen.page.locator(".menu summary").click()

    screen.page.locator("[data-do=column][data-name=loss]").check()

    expect(screen.page.locator(".models th").filter(has_text="Loss")).to_be_visible(timeout=SLOW)
    assert re.search("columns=[^&]*loss", screen.page.url)


def test_an_insight_selects_the_model_it_is_about(screen: Screen) -> None:
    screen.overview("?side=insights")
    insight = screen.page.locator("[data-do=insight]").first
    expect(insight).to_be_visible(timeout=SLOW)

    model = insight.get_attribute("data-model")
    insight.click()

    assert model
    assert screen.wait_for_selection(1) == [short(model)]


def test_a_limit_is_dragged_and_filters(screen: Screen, views: Views) -> None:
    screen.overview()
    frame = screen.page.locator(".scatter-card .bk-CartesianFrame").first
    box = frame.bounding_box()
    worst, best = screen.page.evaluate(
        """() => {
          const models = [...Bokeh.documents[0]._all_models.values()]
          const line = models.find((model) => model.type === "Span" && model.dimension === "width")
          const plot = models.find((model) => model.type === "Figure" && model.center.includes(line))
          const { start, end } = plot.y_range
          return [(end - line.location) / (end - start), 0.5]
        }"""
    )
    assert box
    x = box["x"] + 0.6 * box["width"]

    screen.page.mouse.move(x, box["y"] + worst * box["height"])
    screen.page.mouse.down()
    screen.page.mouse.move(x, box["y"] + best * box["height"], steps=6)
    screen.page.mouse.up()

    expect(screen.page.locator(".passed b")).to_be_visible(timeout=SLOW)
    count = int(screen.page.locator(".passed b").inner_text())
    assert 0 < count < compare.models(views).num_rows
    assert re.search("filters=accuracy", screen.page.url)


def test_five_models_span_the_front(screen: Screen, views: Views) -> None:
    screen.overview()

    screen.page.locator("[data-do=span]").click()

    expected = compare.spanning(views, ["accuracy", "size_bytes"])["model_id"].to_pylist()
    assert sorted(screen.wait_for_selection(len(expected))) == sorted(map(short, expected))


def test_a_sweep_folds_and_unfolds_on_a_click_and_the_selection_stays(screen: Screen) -> None:
    handles = "[...Bokeh.documents[0]._all_models.values()].find((model) => model.data?.sweep)"
    screen.overview("?fold=yes")
    screen.brush("scatter-card", 0.6, 0.6)
    chosen = screen.wait_for_selection()
    x, y = screen.page.evaluate(
        f"""() => {{
          const handles = {handles}
          const models = [...Bokeh.documents[0]._all_models.values()]
          const plot = models.find((model) => model.type === "Figure"
            && model.renderers.some((part) => part.data_source === handles))
          const {{ x_range, y_range }} = plot
          return [(handles.data.x[0] - x_range.start) / (x_range.end - x_range.start),
            (y_range.end - handles.data.y[0]) / (y_range.end - y_range.start)]
        }}"""
    )
    box = screen.page.locator(".map-card .bk-CartesianFrame").first.bounding_box()
    assert box

    screen.page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])

    screen.page.wait_for_function("() => location.search.includes('unfolded=')", timeout=SLOW)
    screen.page.wait_for_function(f"() => {handles}.data.sign.includes('square_pin')", timeout=SLOW)
    assert screen.addressed() == chosen
    in_map, in_scatter = screen.marked()
    assert sorted(map(short, in_map)) == sorted(map(short, in_scatter)) == sorted(chosen)


def test_only_the_front_stands_on_the_map(screen: Screen, views: Views) -> None:
    screen.overview()

    screen.page.locator("[data-name=shown][data-value=front]").click()

    front = compare.front(views, ["size_bytes", "accuracy"]).to_pylist()
    family = {row["model_id"] for row in front if row["on_front"]}
    family |= set(compare.ancestors(views, family))
    placed = """() => [...Bokeh.documents[0]._all_models.values()]
      .find((model) => model.data?.tooltip && model.data.column).data.column"""
    screen.page.wait_for_function(
        f"(count) => [...({placed})()].filter(Number.isFinite).length === count", arg=len(family), timeout=SLOW
    )


@pytest.mark.parametrize("view", ["progress", "recipes"])
def test_trade_offs_have_other_views(screen: Screen, view: str) -> None:
    screen.open()
    expect(screen.page.locator(".map-card canvas").first).to_be_visible(timeout=SLOW)

    screen.page.locator(f"[data-name=trade_offs][data-value={view}]").click()

    part = ".axes path" if view == "recipes" else ".scatter-card canvas:visible"
    expect(screen.page.locator(part).first).to_be_attached(timeout=SLOW)
    screen.page.wait_for_function(f"() => location.search.includes('trade_offs={view}')")


def test_a_comparison_is_refined_by_pills_and_becomes_the_selection(screen: Screen, views: Views) -> None:
    chosen = ",".join(short(id) for id in compare.models(views)["model_id"].to_pylist())
    screen.overview(f"?selection={chosen}")
    screen.page.locator(".refine summary").click()

    screen.page.locator("[data-do=pill]").first.click()
    rows = screen.page.locator(".details tbody tr[data-do=select]")
    expect(screen.page.locator("[data-do=refine-select]")).to_be_visible(timeout=SLOW)
    count = int(screen.page.locator(".refine summary b").inner_text())
    expect(rows).to_have_count(count)
    screen.page.locator("[data-do=refine-select]").click()

    screen.wait_for_selection(count)


def test_terms_are_explained_to_the_keyboard(screen: Screen) -> None:
    screen.overview("?side=filter&filters=accuracy:..")
    screen.page.locator(".filter-head .term").focus()

    expect(screen.page.locator("[role=tooltip]")).to_contain_text("predicted correctly", timeout=SLOW)


_LABELS = """
() => {
  const texts = [...Bokeh.documents[0]._all_models.values()].find((model) => model.glyph?.type === "Text")
  const { label } = texts.data_source.data
  return [label.length, texts.view.filter.booleans.flatMap((drawn, i) => drawn ? [label[i]] : [])]
}
"""


def test_labels_are_made_where_they_are_seen(screen: Screen) -> None:
    screen.overview()
    screen.page.wait_for_function(f"() => ({_LABELS})()[1].length > 0")
    rows, drawn = screen.page.evaluate(_LABELS)
    assert len(drawn) <= rows and all(drawn)

    box = screen.page.locator(".map-card .bk-CartesianFrame").first.bounding_box()
    assert box
    screen.page.mouse.move(box["x"] + 5, box["y"] + 5)
    for _ in range(6):
        screen.page.mouse.wheel(0, -120)

    screen.page.wait_for_function(f"(before) => ({_LABELS})()[1].length < before", arg=len(drawn))
