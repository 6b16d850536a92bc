"""What a user sees of models that were imported with metrics alone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

import cc_ray
from cc_ray.store import Store
from tests.dashboards.screen import Dashboard, Screen
from tests.dashboards.serving import serving

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard of a base model and two children, of which nothing is known but metrics."""
    folder = tmp_path_factory.mktemp("imported")
    store = cc_ray.open(folder / "store", create=True)
    store.log_model("net", task="t", metrics={"accuracy": 0.9, "size_bytes": 100.0})
    for name, accuracy in (("pruned", 0.8), ("rounded", 0.85)):
        metrics = {"accuracy": accuracy, "size_bytes": 50.0}
        store.log_model(name, task="t", parent="net", operation=name, metrics=metrics)
    with serving(folder / "store", folder) as running:
        yield Dashboard(running.url, Store(folder / "store"))


@pytest.mark.parametrize("part", ["summary", "classes", "flips"])
def test_where_no_answers_are_known_one_card_says_what_to_do(screen: Screen, part: str) -> None:
    screen.open(f"?page=behaviours&part={part}")

    told = screen.page.locator(".behaviours .welcome")
    expect(told).to_contain_text("Not known: the answers of these models")
    expect(screen.page.locator(".behaviours .card:visible")).to_have_count(1)
    expect(screen.page.locator(".failure:visible")).to_have_count(0)
    told.get_by_role("link", name="table of the Overview").click()
    expect(screen.page.locator("table.models")).to_contain_text("Pruned after net")


@pytest.mark.parametrize("view", ["modules", "heat", "similarity"])
def test_where_no_layers_are_known_one_card_says_what_to_do(screen: Screen, view: str) -> None:
    screen.open(f"?page=layers&layer_view={view}")

    expect(screen.page.locator(".layers .welcome")).to_contain_text("Not known: the layers of these models")
    expect(screen.page.locator(".layers .card:visible")).to_have_count(1)
    screen.page.get_by_role("tab", name="Sensitivity").click()
    expect(screen.page.locator(".layers .welcome")).to_contain_text("which layers matter most")
    expect(screen.page.locator(".layers .card:visible")).to_have_count(1)


def test_a_store_without_studies_has_one_card(screen: Screen) -> None:
    screen.open("?page=studies")

    expect(screen.page.locator(".studies .welcome")).to_contain_text("Its models came without one")
    expect(screen.page.locator(".studies .card:visible")).to_have_count(1)
