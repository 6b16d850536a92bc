"""What a user does with the dashboard, and what is on the screen."""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from cc_ray.store import Store

_SELECTED = """
() => {
  const models = [...Bokeh.documents[0]._all_models.values()]
  const sources = models.filter((model) => model.type === "ColumnDataSource" && model.data.tooltip)
  return sources.map((source) => source.selected.indices.map((index) => source.data.model_id[index]).sort())
}
"""


@dataclass(frozen=True)
class Dashboard:
    """A running dashboard and the store that it shows."""

    url: str
    store: Store


class Screen:
    """One tab."""

    def __init__(self, page: Page, dashboard: Dashboard) -> None:
        self.page = page
        self.dashboard = dashboard

    def open(self, query: str = "") -> None:
        """Go to an address and wait for the page's own content."""
        self.page.goto(self.dashboard.url + query)

    def overview(self, query: str = "") -> None:
        """Open the overview with both its plots and its details."""
        self.open(query)
        expect(self.page.locator(".map-card canvas").first).to_be_visible(timeout=20_000)
        expect(self.page.locator(".scatter-card canvas").first).to_be_visible(timeout=20_000)
        expect(self.page.locator(".details .content > *").first).to_be_visible(timeout=20_000)

    def brush(self, card: str, width: float, height: float) -> None:
        """Drag a box from the upper left corner of a card's plot over a share of it."""
        box = self.page.locator(f".{card} .bk-CartesianFrame").first.bounding_box()
        assert box
        x, y = box["x"] + 2, box["y"] + 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + width * box["width"], y + height * box["height"], steps=5)
        self.page.mouse.up()

    def marked(self) -> list[list[str]]:
        """The models that are marked in each plot."""
        found: list[list[str]] = self.page.evaluate(_SELECTED)
        return found

    def addressed(self) -> list[str]:
        """The selected models as the address has them."""
        chosen = parse_qs(urlsplit(self.page.url).query).get("selection", [""])[0]
        return [part for part in chosen.split(",") if part]

    def wait_for_selection(self, count: int | None = None) -> list[str]:
        """Wait until the header of the map tells of a selection; its models as the address has them."""
        expect(self.page.locator("[data-do=clear]")).to_be_visible()
        if count is not None:
            expect(self.page.locator(".map-card .bar").first).to_contain_text(f"{count} selected")
        self.page.wait_for_function("() => location.search.includes('selection')")
        return self.addressed()
