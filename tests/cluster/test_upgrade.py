"""An upgrade of a running dashboard with Ray Serve's own command: whoever looks or asks goes on."""

import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import yaml  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboards.state import short
from tests.benchmarks.make_store import make_store
from tests.cluster.files import read
from tests.cluster.processes import environment, free_port, running, short_folder, wait_for
from tests.dashboards.serving import FLAGS, chromium_path

SLOW_S: Final = 4
SLOW: Final = {"query": "SELECT count(*) FROM range(1000000000000) a WHERE hash(a.range) = 0", "seconds": SLOW_S}
PATIENCE_S: Final = 240


class Cluster:
    """A Ray with the part of it that takes Serve's configs, and the dashboard on it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.env: Mapping[str, str] = environment()
        self._config = read("serve.yaml")
        self._config["http_options"]["port"] = free_port()
        self._file = folder / "serve.yaml"
        self._agent = free_port()
        self.url = f"http://127.0.0.1:{self._config['http_options']['port']}/"

    @contextmanager
    def started(self, temporary: Path) -> Iterator[None]:
        ports = {"port": free_port(), "dashboard-port": self._agent, "dashboard-agent-listen-port": free_port()}
        options = " ".join(f"--{name}={port}" for name, port in ports.items())
        command = (
            f"exec ray start --head --block --num-cpus=2 --dashboard-host=127.0.0.1 --temp-dir={temporary} {options}"
        )
        with running(command, self.env, self.log) as process:
            wait_for(self._answers, process, self.log)
            yield

    def _answers(self) -> bool:
        with suppress(OSError):
            self.replicas()
            return True
        return False

    def deploy(self, **arguments: object) -> None:
        """Hand over a config and wait until no replica of an earlier one is left."""
        before = set(self.replicas())
        self._config["applications"][0]["args"].update(arguments)
        self._file.write_text(yaml.safe_dump(self._config))
        command = ["serve", "deploy", "--address", f"http://127.0.0.1:{self._agent}", str(self._file)]
        subprocess.run(command, env=self.env, check=True, capture_output=True)
        wanted, until = self._config["applications"][0]["args"]["replicas"], time.monotonic() + PATIENCE_S
        while len(now := self.replicas()) != wanted or before & set(now) or not all(now.values()):
            assert time.monotonic() < until, self._asked()
            time.sleep(0.5)

    def replicas(self) -> dict[str, int]:
        """The process of each replica by its name; 0 of one that does not answer yet or is to end."""
        found = self._asked()["applications"].get("cc-ray", {}).get("deployments", {}).get("dashboard", {})
        return {one["replica_id"]: one["pid"] if one["state"] == "RUNNING" else 0 for one in found.get("replicas", [])}

    def _asked(self) -> Any:
        sent = {"Authorization": f"Bearer {self.env['RAY_AUTH_TOKEN']}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self._agent}/api/serve/applications/", headers=sent)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


class Asking(threading.Thread):
    """Asks for one thing again and again, with the cookies that it is given."""

    def __init__(self, url: str, right: int = 200, body: object = None, pause_s: float = 0.2) -> None:
        super().__init__()
        self._url, self._right, self._body, self._pause_s = url, right, body, pause_s
        self._over = threading.Event()
        self.asked = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        session = requests.Session()
        while not self._over.wait(self._pause_s):
            self.asked += 1
            try:
                method = "POST" if self._body else "GET"
                answer = session.request(method, self._url, json=self._body, timeout=120)
                if answer.status_code != self._right:
                    self.wrong.append(f"{answer.status_code} {answer.text[:200]}")
            except requests.RequestException as error:
                self.wrong.append(repr(error))

    def end(self) -> None:
        self._over.set()
        self.join()


@contextmanager
def asking(url: str) -> Iterator[list[Asking]]:
    threads = [
        Asking(url, pause_s=1),
        Asking(f"{url}healthz"),
        Asking(f"{url}api/v1/models"),
        Asking(f"{url}api/v1/sql", 422, SLOW),
    ]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.end()


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        yield browser
        browser.close()


def shows(page: Page, selected: str) -> None:
    """The page answers, and has what was selected."""
    expect(page.locator("body.connection-lost")).not_to_be_attached(timeout=60_000)
    expect(page.locator(".map-card .bar").first).to_contain_text("1 selected", timeout=60_000)
    assert selected in page.url
    page.locator("[data-name=side][data-value=table]").first.click()
    expect(page.locator(".models tbody tr").first).to_be_visible(timeout=60_000)
    page.locator("[data-name=side][data-value=details]").first.click()


def replica_of(page: Page) -> str:
    return next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "cc-ray-replica")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1200)
def test_tabs_and_requests_outlive_upgrades_and_a_dead_replica(tmp_path: Path) -> None:
    store, other = (make_store(tmp_path / name, models=8, instances=60) for name in ("store", "other"))
    selected = short(store.keys("step")[0])
    cluster = Cluster(tmp_path)

    with short_folder() as folder, cluster.started(folder), browser() as chromium:
        cluster.deploy(store=str(store.layout.root), replicas=2)
        page = chromium.new_page()
        page.goto(f"{cluster.url}?selection={selected}")
        shows(page, selected)

        with asking(cluster.url) as threads:
            for changed in ({"replicas": 3}, {"session_hours": 2, "stores": {"other": str(other.layout.root)}}):
                old = replica_of(page)
                cluster.deploy(**changed)
                page.wait_for_function("document.body.checkVisibility()")
                shows(page, selected)
                assert replica_of(page) != old and replica_of(page) in cluster.replicas()
        assert [thread.wrong for thread in threads] == [[]] * len(threads)
        assert all(thread.asked > 1 for thread in threads)

        dead = replica_of(page)
        os.kill(cluster.replicas()[dead], signal.SIGKILL)
        expect(page.locator("body.connection-lost")).to_be_attached(timeout=60_000)
        shows(page, selected)
        assert replica_of(page) != dead
