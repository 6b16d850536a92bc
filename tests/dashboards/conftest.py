"""A store, a dashboard that serves it as users have it, and a browser to look at it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from cc_ray.store import Store
from dashboards.snapshot import Snapshot, Source
from tests.benchmarks.make_store import make_store
from tests.dashboards.screen import Dashboard, Screen

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_S = 120


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Twenty-four models over four hundred instances; tests only read it."""
    return make_store(tmp_path_factory.mktemp("dashboards") / "store", models=24, instances=400)


@pytest.fixture(scope="session")
def snapshot(store: Store) -> Snapshot:
    return Source(str(store.root)).snapshot


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is."""
    named = os.environ.get("CC_RAY_CHROMIUM")
    places = [named, "/usr/bin/chromium", *map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))]
    for place in places:
        if place and Path(place).exists():
            return place
    pytest.skip("there is no Chromium: `apt-get install chromium`, or name one in CC_RAY_CHROMIUM")


@pytest.fixture(scope="session")
def dashboard(chromium: str, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """The real Ray Serve application in a process and a Ray of its own, over a copy of the store."""
    folder = tmp_path_factory.mktemp("served")
    served = Store(shutil.copytree(store.root, folder / "store"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = f"from cc_ray.serve import serve_store, stay; serve_store({str(served.root)!r}, port={port}); stay()"
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log, env=environment)
        try:
            _wait_until_well(f"http://127.0.0.1:{port}/healthz", process, folder / "log")
            yield Dashboard(f"http://127.0.0.1:{port}/", served)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def _wait_until_well(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, log.read_text()
            time.sleep(0.3)
    raise AssertionError(f"no answer from {url}:\n{log.read_text()}")


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
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if _is_local(request.url) else wrong.append(f"left: {request.url}"))
    return wrong


def _is_local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))
