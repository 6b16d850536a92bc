"""What a user does on the Behaviours page, in a real browser on the real Ray Serve application."""

import re

import pytest
from playwright.sync_api import Locator, expect

from cc_ray import compare
from cc_ray.views import Views, open_views
from dashboards.state import short
from tests.dashboards.screen import Dashboard, Screen

pytestmark = pytest.mark.browser
WAIT_MS = 30_000


@pytest.fixture
def views(dashboard: Dashboard) -> Views:
    return open_views(dashboard.store.root)


@pytest.fixture
def family(views: Views) -> tuple[str, list[str]]:
    """The base model of most compressed models and these, those that lost most first."""
    bases = [row["model_id"] for row in compare.models(views).to_pylist() if row["parent"] is None]
    base = max(bases, key=lambda base: len(compare.descendants(views, [base])))
    found = compare.behaviours(views, compare.descendants(views, [base]), base).to_pylist()
    return base, [row["model_id"] for row in sorted(found, key=lambda row: row["difference"])]


def show(screen: Screen, part: str, ids: list[str], more: str = "") -> Locator:
    """Open one part of the page for some models; the part's own content."""
    screen.open(f"?page=behaviours&part={part}&selection={','.join(map(short, ids))}{more}")
    expect(screen.page.locator(".tabs [aria-current]")).to_be_visible(timeout=WAIT_MS)
    return screen.page.locator("body")


def answered(screen: Screen) -> None:
    """Wait until no part waits for an answer."""
    expect(screen.page.locator(".content.busy")).to_have_count(0, timeout=WAIT_MS)


def test_the_summary_has_a_row_and_outcomes_for_each_model(screen: Screen, family: tuple[str, list[str]]) -> None:
    _, ids = family

    show(screen, "summary", ids)

    expect(screen.page.locator(".summary-card tbody tr")).to_have_count(len(ids), timeout=WAIT_MS)
    expect(screen.page.locator(".outcome-card .outcome")).to_have_count(len(ids))
    expect(screen.page.locator(".outcome-card .moves").first).to_be_visible()


def test_the_base_is_chosen_and_models_left_out_on_the_page(screen: Screen, family: tuple[str, list[str]]) -> None:
    base, ids = family
    show(screen, "summary", ids[:3])
    expect(screen.page.locator(".summary-card tbody tr")).to_have_count(3, timeout=WAIT_MS)

    screen.page.locator("select[data-name=base]").select_option(ids[1])
    expect(screen.page.locator(".summary-card tbody tr")).to_have_count(2)
    screen.page.locator(f".summary-card [data-key=out-{ids[0]}]").click()

    expect(screen.page.locator(".summary-card tbody tr")).to_have_count(1)
    screen.page.wait_for_function("(id) => location.search.includes(`base=${id}`)", arg=short(ids[1]))
    assert screen.addressed() == [short(ids[1]), short(ids[2])]
    assert base not in screen.page.url


def test_parts_are_in_the_address_and_history(screen: Screen, family: tuple[str, list[str]]) -> None:
    show(screen, "summary", family[1][:2])

    screen.page.get_by_role("link", name="Flips").click()

    expect(screen.page.locator("table.matrix")).to_be_visible(timeout=WAIT_MS)
    screen.page.wait_for_function("() => location.search.includes('part=flips')")
    screen.page.reload()
    expect(screen.page.locator("table.matrix")).to_be_visible(timeout=WAIT_MS)


def test_the_map_marks_what_is_significant_and_leads_to_the_instances(
    screen: Screen, views: Views, family: tuple[str, list[str]]
) -> None:
    base, ids = family
    show(screen, "classes", ids)
    cells = screen.page.locator("table.heat td")
    classes = compare.measures(views, ids, base, "correct", by_class=True).to_pylist()
    expect(cells).to_have_count(len(classes), timeout=WAIT_MS)

    starred = screen.page.locator("table.heat td", has_text="*").count()
    assert starred == sum(row["holm_p"] < 0.05 for row in classes)
    cells.first.click()

    expect(screen.page.locator(".gallery figure").first).to_be_visible(timeout=WAIT_MS)
    expect(screen.page.locator(".gallery-card .chip").first).to_contain_text("Class")


def test_the_arrow_keys_lead_through_the_map(screen: Screen, family: tuple[str, list[str]]) -> None:
    show(screen, "classes", family[1][:3])
    screen.page.locator("table.heat td[tabindex='0']").focus(timeout=WAIT_MS)

    screen.page.keyboard.press("ArrowDown")
    screen.page.keyboard.press("ArrowRight")

    focused = screen.page.locator("table.heat td:focus")
    assert focused.evaluate("(cell) => [cell.parentElement.rowIndex, cell.cellIndex]") == [2, 2]
    screen.page.keyboard.press("Enter")
    expect(screen.page.locator(".gallery-card .chip").first).to_be_visible(timeout=WAIT_MS)


def test_a_brush_reaches_the_table_its_counts_and_the_instances(screen: Screen, family: tuple[str, list[str]]) -> None:
    _, ids = family
    show(screen, "classes", ids[:3], "&measure=true_probability")
    total = screen.page.locator("table.classes .total small").first
    expect(total).to_contain_text("400", timeout=WAIT_MS)

    drag(screen, screen.page.locator(f".brush[data-brush='{ids[0]}']"), 0.0, 0.4)

    expect(screen.page.locator(".table-card .chip")).to_have_count(1)
    answered(screen)
    one = int(re.sub(r"\D", "", total.inner_text()))
    assert 0 < one < 400
    drag(screen, screen.page.locator(f".brush[data-brush='{ids[1]}']"), 0.0, 0.4)
    expect(screen.page.locator(".table-card .chip")).to_have_count(2)
    answered(screen)
    both = int(re.sub(r"\D", "", total.inner_text()))
    assert 0 < both <= one
    screen.page.get_by_role("link", name="Instances").click()
    screen.page.locator("[data-name=only][data-value=all]").click()
    expect(screen.page.locator(".gallery-card .pager span")).to_contain_text(f"of {both}", timeout=WAIT_MS)


def test_intervals_that_keep_nothing_can_be_changed_where_they_are(
    screen: Screen, family: tuple[str, list[str]]
) -> None:
    _, ids = family
    show(screen, "classes", ids[:2], f"&measure=loss&kind=value&kept={short(ids[0])}:-2..-1")
    expect(screen.page.locator(".table-card .empty")).to_contain_text("No instance is left", timeout=WAIT_MS)

    drag(screen, screen.page.locator(f".brush[data-brush='{ids[0]}']"), 0.0, 1.0)

    expect(screen.page.locator("table.classes .total small").first).to_contain_text("400", timeout=WAIT_MS)


def test_the_keyboard_keeps_an_interval(screen: Screen, family: tuple[str, list[str]]) -> None:
    _, ids = family
    show(screen, "classes", ids[:2], "&measure=loss&kind=value")
    axis = screen.page.locator(f".brush[data-brush='{ids[0]}']")
    axis.focus(timeout=WAIT_MS)

    screen.page.keyboard.press("ArrowRight")
    screen.page.keyboard.press("Shift+ArrowRight")

    expect(screen.page.locator(".table-card .chip")).to_have_count(1)
    expect(axis).to_be_focused()
    screen.page.keyboard.press("Escape")
    expect(screen.page.locator(".table-card .chip")).to_have_count(0)


def test_what_has_no_own_value_says_so(screen: Screen, family: tuple[str, list[str]]) -> None:
    show(screen, "classes", family[1][:2])
    own = screen.page.get_by_role("button", name="Own value")
    expect(own).to_be_enabled(timeout=WAIT_MS)

    screen.page.locator("select[data-name=measure]").select_option("kl")

    expect(own).to_be_disabled()
    expect(screen.page.locator(".table-card .hint")).to_contain_text("no model has a value of its own")
    expect(screen.page.locator("h2", has_text="KL divergence by model and class")).to_be_visible(timeout=WAIT_MS)


def test_every_measure_and_way_to_take_it_is_answered(screen: Screen, family: tuple[str, list[str]]) -> None:
    show(screen, "classes", family[1][:2])
    for measure in ("confidence", "loss", "margin", "entropy", "base_class_probability", "agree", "mse"):
        screen.page.locator("select[data-name=measure]").select_option(measure)
        expect(screen.page.locator("table.heat td").first).to_be_visible(timeout=WAIT_MS)
        answered(screen)
        expect(screen.page.locator(".failure")).to_have_count(0)
    screen.page.locator("select[data-name=measure]").select_option("loss")
    for name in ("Own value", "Size of change", "Ratio", "Change"):
        screen.page.get_by_role("button", name=name, exact=True).click()
        expect(screen.page.get_by_role("button", name=name, exact=True)).to_have_attribute("aria-pressed", "true")
        answered(screen)
        expect(screen.page.locator("table.classes tbody tr")).to_have_count(12)


def test_classes_are_sorted_by_one_model(screen: Screen, views: Views, family: tuple[str, list[str]]) -> None:
    base, ids = family
    show(screen, "classes", ids[:2])
    rows = compare.measures(views, ids[:1], base, "correct", by_class=True).to_pylist()
    largest = max(rows, key=lambda row: abs(row["difference"]))

    screen.page.locator(f"[data-key=rank-{ids[0]}]").click(timeout=WAIT_MS)

    name = screen.page.locator("table.classes tbody tr").nth(2).locator("button.link")
    first = screen.page.locator("table.classes tbody tr").nth(2).locator("td").nth(1)
    expect(screen.page.locator(f"[data-key=rank-{ids[0]}]")).to_have_text("↓")
    expect(first).to_contain_text(f"{100 * largest['difference']:+.1f}".replace("-", "−"))
    expect(name).to_be_visible()


def test_slices_take_the_place_of_classes(screen: Screen, family: tuple[str, list[str]]) -> None:
    show(screen, "classes", family[1][:2])

    screen.page.locator("[data-name=grouped][data-value=slice]").click(timeout=WAIT_MS)

    expect(screen.page.locator("table.classes tbody", has_text="class:3")).to_be_visible(timeout=WAIT_MS)


def test_instances_are_sorted_by_one_model_and_shown_large(screen: Screen, family: tuple[str, list[str]]) -> None:
    _, ids = family
    show(screen, "instances", ids[:2], "&only=all&measure=loss&kind=value")

    screen.page.locator(f".strip [data-key=rank-{ids[0]}]").click(timeout=WAIT_MS)

    expect(screen.page.locator("select[data-name=sort] option").first).to_have_text("As sorted below")
    expect(screen.page.locator(".gallery figure").first.locator("li").nth(1)).to_have_class(re.compile("wrong"))
    screen.page.locator(".gallery .zoom").first.click()
    expect(screen.page.locator("figure.large img")).to_have_css("width", "240px")


def test_a_cell_of_the_flip_matrix_shows_its_instances(
    screen: Screen, views: Views, family: tuple[str, list[str]]
) -> None:
    base, ids = family
    show(screen, "flips", ids[:3])
    lost = {
        (row["model_id"], row["other_id"]): row["lost"]
        for row in compare.flip_matrix(views, [base, *ids[:3]]).to_pylist()
    }
    cell = screen.page.locator("[data-at='3,1']")
    expect(cell).to_have_text(str(lost[ids[2], ids[0]]), timeout=WAIT_MS)

    cell.click()

    expect(cell).to_have_attribute("aria-selected", "true")
    expect(screen.page.locator(".pair-card .pager span")).to_contain_text(f"of {lost[ids[2], ids[0]]}", timeout=WAIT_MS)


def test_answers_flow_by_outcome_and_by_class(screen: Screen, family: tuple[str, list[str]]) -> None:
    _, ids = family
    show(screen, "flips", ids[:3], f"&focus={short(ids[0])}")
    expect(screen.page.locator(".sankey path.lost")).to_have_count(1, timeout=WAIT_MS)

    screen.page.locator("[data-name=flow][data-value=class]").click()

    expect(screen.page.locator(".sankey path").nth(2)).to_be_visible()
    expect(screen.page.locator(".sankey text").first).not_to_contain_text("Base")


def test_the_queue_of_exemplars_has_pictures_and_answers(
    screen: Screen, views: Views, family: tuple[str, list[str]]
) -> None:
    base, ids = family
    found = compare.exemplars(views, ids, [base]).to_pylist()
    lost = [row for row in found if row["base_correct"]]
    assert lost

    show(screen, "exemplars", ids[:2])

    cards = screen.page.locator(".queue figure")
    expect(cards).to_have_count(min(len(lost), 36), timeout=WAIT_MS)
    expect(cards.first.locator("img")).to_be_visible()
    expect(cards.first.locator(".verdicts")).to_contain_text(f"of {len(ids)}")
    expect(cards.first.locator("li")).to_have_count(3)
    screen.page.locator("[data-do=kind][data-value=all]").click()
    expect(cards).to_have_count(min(len(found), 36))


def test_a_found_slice_is_looked_into(screen: Screen, family: tuple[str, list[str]]) -> None:
    _, ids = family
    show(screen, "slices", ids[:2])
    first = screen.page.locator(".found-card tbody tr").first
    expect(first).to_be_visible(timeout=WAIT_MS)
    n = first.locator("td").nth(1).inner_text()

    first.click()

    expect(screen.page.locator(".written-card")).to_contain_text(f"{n} of 400 instances", timeout=WAIT_MS)
    screen.page.get_by_role("button", name="Show them").click()
    expect(screen.page.locator(".gallery-card .pager span")).to_contain_text(f"of {n}", timeout=WAIT_MS)


def test_a_condition_makes_a_slice_and_a_wrong_one_is_explained(screen: Screen, family: tuple[str, list[str]]) -> None:
    show(screen, "slices", family[1][:2])
    field = screen.page.locator(".written-card input[data-name=where]")
    field.fill("label IN (1, 2)", timeout=WAIT_MS)
    field.press("Enter")
    expect(screen.page.locator(".written-card")).to_contain_text("80 of 400 instances", timeout=WAIT_MS)

    field.fill("label IN (SELECT 1)")
    field.press("Enter")

    expect(screen.page.locator(".written-card .failure")).to_contain_text("has a subquery in it")


def test_calibration_has_a_diagram_and_scores(screen: Screen, family: tuple[str, list[str]]) -> None:
    show(screen, "calibration", family[1][:2])

    expect(screen.page.locator("svg.reliability")).to_have_count(3, timeout=WAIT_MS)
    expect(screen.page.locator(".score-card tbody tr")).to_have_count(3, timeout=WAIT_MS)
    expect(screen.page.locator(".score-card th", has_text="ECE").first).to_be_visible()


def test_terms_are_explained_to_pointer_and_keyboard(screen: Screen, family: tuple[str, list[str]]) -> None:
    show(screen, "summary", family[1][:2])
    term = screen.page.locator(".summary-card .term", has_text="Flips")
    tip = screen.page.locator(".tip:popover-open")

    term.hover(timeout=WAIT_MS)
    expect(tip).to_contain_text("right under one of model and base")
    screen.page.mouse.move(700, 5)
    expect(tip).to_have_count(0)
    term.focus()

    expect(tip).to_contain_text("right under one of model and base")


def test_pointing_at_a_model_lights_it_everywhere(screen: Screen, family: tuple[str, list[str]]) -> None:
    _, ids = family
    show(screen, "classes", ids[:2])

    screen.page.locator(f"table.heat tr[data-of='{ids[0]}'] th").hover(timeout=WAIT_MS)

    expect(screen.page.locator(f"table.classes th.lit[data-of='{ids[0]}']")).to_be_visible()


def test_no_model_beside_the_base_says_what_to_do(screen: Screen, family: tuple[str, list[str]]) -> None:
    base, _ = family

    screen.open(f"?page=behaviours&selection={short(base)}&base={short(base)}")

    expect(screen.page.locator(".empty:visible")).to_contain_text("Select a model", timeout=WAIT_MS)


def test_nothing_is_wider_than_the_window(screen: Screen, family: tuple[str, list[str]]) -> None:
    for part in ("summary", "classes", "flips", "instances", "exemplars", "slices", "calibration"):
        show(screen, part, family[1])
        answered(screen)
        for width, height in ((1024, 768), (1920, 1080), (1440, 900)):
            screen.page.set_viewport_size({"width": width, "height": height})
            screen.page.wait_for_timeout(100)
            reach = screen.page.evaluate("() => [document.body.scrollWidth, document.body.scrollHeight]")
            assert reach == [width, height], part


def drag(screen: Screen, axis: Locator, start: float, end: float) -> None:
    """Drag over a share of an axis."""
    box = axis.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    screen.page.mouse.move(box["x"] + start * box["width"], y)
    screen.page.mouse.down()
    screen.page.mouse.move(box["x"] + end * box["width"], y, steps=4)
    screen.page.mouse.up()
