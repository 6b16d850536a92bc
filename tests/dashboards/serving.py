"""The real Ray Serve application in a process and a Ray of its own, as users have it; and where a browser is."""

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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

FLAGS: Final = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""Of Chromium."""
START_S: Final = 120


@dataclass(frozen=True)
class Served:
    """A dashboard that answers."""

    url: str
    pid: int
    """The process that began it; its replicas are processes of the Ray below."""


def chromium_path() -> str:
    """Where Chromium is; skips the test where it is not."""
    named = os.environ.get("CC_RAY_CHROMIUM")
    places = [named, "/usr/bin/chromium", *map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))]
    for place in places:
        if place and Path(place).exists():
            return place
    pytest.skip("there is no Chromium: `apt-get install chromium`, or name one in CC_RAY_CHROMIUM")


@contextmanager
def serving(root: Path | str, folder: Path) -> Iterator[Served]:
    """Serve a store until the block ends.

    Args:
        root: The store.
        folder: Where its log goes.
    """
    port = free_port()
    code = f"from cc_ray.serve import serve_store, stay; serve_store({str(root)!r}, port={port}); stay()"
    with started(["-c", code], port, folder) as served:
        yield served


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(arguments: list[str], port: int, folder: Path) -> Iterator[Served]:
    """Run a Python program that serves a dashboard until the block ends.

    Args:
        arguments: Of Python.
        port: Where it will answer.
        folder: Where its log goes.
    """
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log, env=environment)
        try:
            _wait_until_well(f"http://127.0.0.1:{port}/healthz", process, folder / "log")
            yield Served(f"http://127.0.0.1:{port}/", process.pid)
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
