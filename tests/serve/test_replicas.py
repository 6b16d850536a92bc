"""Two replicas behind one port, under real Ray Serve: tabs find theirs, and outlive its end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from websockets import Origin, Subprotocol
from websockets.sync.client import ClientConnection, connect

from cc_ray.serve import refuse_taken_port
from tests.serve.visitor import PASSWORDS, TOKEN, token

SERVE = """
import sys, ray
from cc_ray.serve import LOCAL, Settings, serve_store, stay
root, port, login = sys.argv[1:]
serve_store(root, port=int(port), settings=Settings(hosts=LOCAL, login=login), replicas=2)
print("ready", flush=True)
name = sys.stdin.readline().strip()
actor = next(actor for actor in ray.util.list_named_actors(all_namespaces=True) if name in actor["name"])
ray.kill(ray.get_actor(actor["name"], namespace=actor["namespace"]), no_restart=True)
print("killed", flush=True)
stay()
"""
WAIT_S = 60


class Tab:
    """A browser with one tab."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        form = {"name": "rob", "password": PASSWORDS["rob"]}
        entered = self.session.post(
            f"{url}/login", data=form, headers={"Origin": url}, allow_redirects=False, timeout=60
        )
        assert entered.status_code == 303, entered.text

    def load(self) -> int:
        page = self.session.get(f"{self.url}/?page=layers", timeout=60)
        self.page = page.text
        return int(page.status_code)

    @property
    def replica(self) -> str:
        return str(self.session.cookies["cc-ray-replica"])

    def open(self, stack: ExitStack) -> ClientConnection:
        cookies = "; ".join(f"{name}={value}" for name, value in self.session.cookies.items())
        address = f"{self.url.replace('http', 'ws')}/ws"
        protocols = [Subprotocol("bokeh"), Subprotocol(token(self.page))]
        sent = {"Cookie": cookies}
        connecting = connect(address, subprotocols=protocols, additional_headers=sent, origin=Origin(self.url))
        websocket = stack.enter_context(connecting)
        assert '"ACK"' in str(websocket.recv(timeout=WAIT_S))
        return websocket


@pytest.fixture
def served(root: Path, login: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    port = refuse_taken_port("127.0.0.1", 0)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(root), str(port), str(login)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    try:
        assert process.stdout and process.stdout.readline()
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.slow
def test_sixteen_tabs_share_two_replicas_and_outlive_one(served: tuple[str, "subprocess.Popen[str]"]) -> None:
    url, process = served
    assert process.stdin and process.stdout
    with ExitStack() as stack:
        tabs = [Tab(url) for _ in range(16)]
        assert [tab.load() for tab in tabs] == [200] * 16
        websockets = [tab.open(stack) for tab in tabs]
        replicas = {tab.replica for tab in tabs}
        assert len(replicas) == 2
        assert open_tabs(url) == {replica: sum(tab.replica == replica for tab in tabs) for replica in replicas}

        gone, left = replicas
        process.stdin.write(f"{gone}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "killed\n"

        for tab, websocket in zip(tabs, websockets, strict=True):
            if tab.replica == left:
                assert websocket.ping().wait(WAIT_S)
            else:
                come_back(tab, stack)
                assert tab.replica != gone


def open_tabs(url: str) -> dict[str, float]:
    """By replica, as their metrics say."""
    metrics = requests.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60).text
    lines = [line for line in metrics.splitlines() if line.startswith("cc_ray_open_sessions{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


def come_back(tab: Tab, stack: ExitStack) -> None:
    """What a page does whose connection was lost."""
    until = time.monotonic() + WAIT_S
    while requests.get(f"{tab.url}/healthz", timeout=60).status_code != 200 or tab.load() != 200:
        assert time.monotonic() < until
    tab.open(stack)
