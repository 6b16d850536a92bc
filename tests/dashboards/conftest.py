"""A store, a dashboard that serves it as users have it, and a browser to look at it."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from cc_ray.store import Store
from dashboards.snapshot import Snapshot, Source
from tests.benchmarks.make_store import make_store
from tests.dashboards.probes import add_probes
from tests.dashboards.screen import Dashboard, Screen
from tests.dashboards.serving import FLAGS, chromium_path, serving

# A busy machine may take long over what is right; five seconds are for users.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Twenty-four models over four hundred instances, with saved weights and probes of layers; tests only read it."""
    root = tmp_path_factory.mktemp("dashboards") / "store"
    store = make_store(root, models=24, instances=400, save_weights=True)
    add_probes(store)
    return store


@pytest.fixture(scope="session")
def snapshot(store: Store) -> Snapshot:
    return Source(str(store.root)).snapshot


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is."""
    return chromium_path()


@pytest.fixture(scope="session")
def dashboard(chromium: str, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """The real Ray Serve application in a process and a Ray of its own, over a copy of the store."""
    folder = tmp_path_factory.mktemp("served")
    served = Store(shutil.copytree(store.root, folder / "store"))
    with serving(served.root, folder) as running:
        yield Dashboard(running.url, served)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Ends with the module: Playwright's event loop must not run beneath the tests of others."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def screen(browser: Browser, dashboard: Dashboard) -> Iterator[Screen]:
    """A fresh tab that has asked for nothing yet; at the end nothing may have gone wrong in it."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    wrong = _watch(page)
    yield Screen(page, dashboard)
    context.close()
    assert wrong == []


def _watch(page: Page) -> list[str]:
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(error.stack or str(error)))
    page.on("request", lambda request: None if _is_local(request.url) else wrong.append(f"left: {request.url}"))
    return wrong


def _is_local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))
