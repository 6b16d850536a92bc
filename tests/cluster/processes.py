"""Ray as processes of its own, apart from any other Ray of this machine."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SPACE = """
from cc_ray.search import SearchSpace, recipe


def search_space() -> SearchSpace:
    return SearchSpace("tiny", "digits", [recipe("resnet")])
"""


def environment(**more: str) -> dict[str, str]:
    """That of this process, with a token of its own and without what would lead to another cluster."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "CC_RAY_"))}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        # `ray start` would send an empty report nevertheless.
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
        **more,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder for Ray's sockets, whose paths may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="cc", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(command: str, env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A shell command that goes on until it is ended; `exec` in it makes that the end of the program itself."""
    with log.open("ab") as out:
        process = subprocess.Popen(["bash", "-c", command], env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_for(found: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something is there, as long as the process that is to bring it lives."""
    deadline = time.monotonic() + 120
    while not found():
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
