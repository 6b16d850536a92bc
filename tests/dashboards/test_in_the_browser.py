"""What a user sees and does, in a real browser on the real Ray Serve application."""

import http.client
import re
import time
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest
from playwright.sync_api import expect

from cc_ray import compare
from cc_ray.views import open_views
from dashboards.state import short
from tests.dashboards.screen import Dashboard, Screen

pytestmark = pytest.mark.browser


def test_brushing_the_scatterplot_selects_in_the_map_and_explains(screen: Screen) -> None:
    screen.overview()

    screen.brush("scatter-card", 0.6, 0.6)

    chosen = screen.wait_for_selection()
    assert len(chosen) > 1
    in_map, in_scatter = screen.marked()
    assert in_map == in_scatter
    assert sorted(chosen) == [short(id) for id in in_map]
    expect(screen.page.locator(".details h2").first).to_contain_text(f"{len(chosen)} models")
    expect(screen.page.locator(".details tbody tr[data-do=select]")).to_have_count(len(chosen))


def test_brushing_the_map_selects_in_the_scatterplot(screen: Screen) -> None:
    screen.overview()

    screen.brush("map-card", 0.3, 0.98)

    screen.wait_for_selection()
    in_map, in_scatter = screen.marked()
    assert in_map == in_scatter != []


@pytest.mark.parametrize("card", ["scatter-card", "map-card"])
def test_a_brush_is_told_once(screen: Screen, card: str) -> None:
    sent: list[str] = []
    screen.page.on("websocket", lambda tab: tab.on("framesent", lambda frame: sent.append(str(frame))))
    screen.overview()

    screen.brush(card, 0.6, 0.98)

    screen.wait_for_selection()
    assert sum('"indices"' in frame for frame in sent) == 1


_CODE = """
() => [...Bokeh.documents[0]._all_models.values()].filter((model) => model.type === "panel.models.esm.ReactiveESM")
  .map((model) => model.esm)
"""


def test_code_is_not_sent_with_the_parts_that_it_is_of(screen: Screen) -> None:
    fetched: list[str] = []
    screen.page.on("request", lambda request: fetched.append(request.url))
    screen.overview()

    named = screen.page.evaluate(_CODE)
    assert len(named) > len(set(named)) > 1
    assert all(fetched.count(screen.dashboard.url + address.removeprefix("./")) == 1 for address in set(named))


def test_the_address_keeps_the_selection_over_reload_and_pages(screen: Screen) -> None:
    screen.overview()
    screen.brush("scatter-card", 0.6, 0.6)
    chosen = screen.wait_for_selection()

    screen.page.reload()
    assert screen.wait_for_selection(len(chosen)) == chosen
    screen.page.get_by_role("link", name="Behaviours").click()
    expect(screen.page.locator(".summary-card tbody tr")).not_to_have_count(0)
    expect(screen.page.locator(".map-card")).to_be_hidden()
    assert screen.addressed() == chosen
    link = screen.page.get_by_role("link", name="Layers")
    link.hover()
    href = link.get_attribute("href") or ""
    assert parse_qs(urlsplit(href).query) == {"selection": [",".join(chosen)], "page": ["layers"]}
    screen.page.go_back()

    expect(screen.page.locator(".map-card")).to_be_visible()
    expect(screen.page.locator(".summary-card")).to_be_hidden()
    assert screen.addressed() == chosen


def test_relatives_are_added_to_the_selection(screen: Screen, dashboard: Dashboard) -> None:
    views = open_views(dashboard.store.root)
    base = next(row["model_id"] for row in compare.models(views).to_pylist() if row["parent"] is None)
    family = [base, *compare.descendants(views, [base])]
    screen.overview(f"?selection={short(base)}")

    screen.page.locator("[data-do=descendants]").click()

    assert sorted(screen.wait_for_selection(len(family))) == sorted(map(short, family))


def test_one_model_shows_its_card_and_none_the_recommended(screen: Screen) -> None:
    screen.overview()
    expect(screen.page.locator(".details h2").first).to_contain_text("Recommended models")

    screen.page.locator(".details tbody tr").nth(1).click()

    chosen = screen.wait_for_selection(1)
    expect(screen.page.locator(".details .facts")).to_contain_text(chosen[0])
    screen.page.locator("[data-do=clear]").click()
    expect(screen.page.locator(".details h2").first).to_contain_text("Recommended models")


def test_other_metrics_and_arrangements_stay_in_the_address(screen: Screen) -> None:
    screen.overview()

    screen.page.locator("select[data-name=colour]").select_option("sparsity")
    screen.page.locator("select[data-name=x]").select_option("latency_p50_ms")
    screen.page.locator("[data-name=arrange][data-value=step]").click()
    screen.page.locator("[data-name=log_x]").click()

    screen.page.wait_for_function("() => ['sparsity', 'step', 'log_x'].every((part) => location.search.includes(part))")
    screen.page.reload()
    expect(screen.page.locator("select[data-name=x]")).to_have_value("latency_p50_ms")
    expect(screen.page.locator(".scatter-card canvas").first).to_be_visible()


_RINGS = """
() => {
  const tools = [...Bokeh.documents[0]._all_models.values()].filter((model) => model.name === "pointing")
  const { places } = Object.fromEntries(tools.at(-1).args.entries?.() ?? Object.entries(tools.at(-1).args))
  return [tools.length, ...places.map(([, ring]) => ring.data.x.length)]
}
"""


def test_a_row_rings_its_model_in_plots_that_took_the_place_of_others(screen: Screen) -> None:
    screen.overview("?side=table")

    screen.page.locator("select[data-name=x]").select_option("latency_p50_ms")
    screen.page.wait_for_function(f"() => ({_RINGS})()[0] > 1")
    screen.page.locator("table.models tbody tr").first.hover()

    screen.page.wait_for_function(f"() => ({_RINGS})().slice(1).join() === '1,1'")


def test_behaviours_show_instances_with_their_images(screen: Screen, dashboard: Dashboard) -> None:
    models = compare.models(open_views(dashboard.store.root)).to_pylist()
    child = next(row["model_id"] for row in models if row["parent"])

    screen.open(f"?page=behaviours&part=instances&only=all&selection={short(child)}")

    image = screen.page.locator(".gallery img").first
    expect(image).to_be_visible(timeout=20_000)
    assert image.evaluate("(image) => image.complete && image.naturalWidth > 0")
    expect(screen.page.locator(".gallery figure")).to_have_count(36)
    screen.page.locator("[data-name=only][data-value=wrong]").click()
    expect(screen.page.locator(".gallery .right")).to_have_count(0)


def test_a_model_published_while_the_page_is_open_appears(screen: Screen, dashboard: Dashboard) -> None:
    screen.overview()
    screen.brush("scatter-card", 0.6, 0.6)
    chosen = screen.wait_for_selection()
    text = screen.page.locator(".status b").inner_text()

    publish_child(dashboard)

    expect(screen.page.locator(".status b")).to_have_text(str(int(text) + 1), timeout=20_000)
    screen.page.wait_for_function(
        "(count) => [...Bokeh.documents[0]._all_models.values()].filter((model) => model.data?.tooltip)"
        ".every((source) => source.data.model_id.length === count)",
        arg=int(text) + 1,
        timeout=20_000,
    )
    assert screen.addressed() == chosen
    # Rows come first, their marks with the next message.
    until = time.monotonic() + 30
    while [short(id) for id in screen.marked()[0]] != sorted(chosen) and time.monotonic() < until:
        screen.page.wait_for_timeout(100)
    assert [short(id) for id in screen.marked()[0]] == sorted(chosen)


def test_a_foreign_page_gets_no_websocket(dashboard: Dashboard) -> None:
    assert handshake(dashboard.url, "http://evil.example") == 403


def test_served_to_this_machine_it_answers_to_no_other_name(dashboard: Dashboard) -> None:
    host = urlsplit(dashboard.url).netloc

    assert answer(host, "/healthz", {"Host": host}) == 200
    assert answer(host, "/healthz", {"Host": "evil.example"}) == 400


def publish_child(dashboard: Dashboard) -> None:
    """Publish a copy of a childless model under another identity."""
    store, changed = dashboard.store, {}
    first = store.keys("step")[-1]
    new = re.sub("^.{6}", "ffffff", first)
    tables = ("models", "lineage", "metrics", "predictions", "layers", "activations", "findings")
    for name in tables:
        rows = store.read(name, keys={"step": first})
        column = "child" if name == "lineage" else "model_id"
        ids = pa.array([new] * len(rows), pa.string())
        changed[name] = rows.set_column(rows.column_names.index(column), column, ids)
    assert store.publish("step", new, changed)


def handshake(url: str, origin: str) -> int:
    """Status of the answer to a websocket's opening request."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "bokeh, token",
        "Origin": origin,
    }
    return answer(urlsplit(url).netloc, "/ws", headers)


def answer(host: str, path: str, headers: dict[str, str]) -> int:
    """Status of the answer to a request."""
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()
