"""Whether heavy SQL of one user stalls others: `pytest -m benchmark -s tests/benchmarks/test_service.py`."""

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from cc_ray.serve import refuse_taken_port
from cc_ray.views.isolated import Request, Workers
from tests.benchmarks.make_store import make_store

ENDLESS = "SELECT count(*) FROM range(1000000000000) a, models WHERE hash(a.range) = 0"
ASKED = {"dashboard": "/", "GET /api/models": "/api/v1/models", "GET /healthz": "/healthz"}
TIMES, HEAVY_S = 12, 60.0
OTHER = "127.0.0.2"
"""Another address of this machine, and so another user."""


@pytest.mark.benchmark
def test_the_service_while_others_ask_heavy_questions(tmp_path: Path) -> None:
    root = make_store(tmp_path / "store", models=20, instances=500).root
    with served(root) as url:
        for path in ASKED.values():
            seconds(url + path)
        quiet = {name: median(url + path) for name, path in ASKED.items()}
        heavy = [threading.Thread(target=ask, args=(url, ENDLESS, HEAVY_S, f"heavy-{i}-query")) for i in range(2)]
        for thread in heavy:
            thread.start()
        time.sleep(3)
        busy = {name: median(url + path) for name, path in ASKED.items()}
        short = timed(lambda: ask(url, "SELECT 1", 30, "short-query", OTHER))
        still = [cancelled(url, f"heavy-{i}-query") for i in range(2)]
        for thread in heavy:
            thread.join()
    for name in ASKED:
        say(
            name, busy[name], f"without heavy queries {1000 * quiet[name]:.1f} ms, ratio {busy[name] / quiet[name]:.2f}"
        )
    say("SELECT 1 of another user beside two heavy queries", short, f"heavy ones still at work: {sum(still)}")


@pytest.mark.benchmark
def test_the_start_of_a_worker(tmp_path: Path) -> None:
    root = make_store(tmp_path / "store", models=20, instances=500).root
    request = Request("SELECT model_id, accuracy FROM model_metrics")
    with Workers(root, spare=False) as workers:
        started = statistics.median(timed(lambda: workers.ask(request)) for _ in range(7))
    with Workers(root) as workers:
        workers.ask(request)
        ready = statistics.median(timed_later(lambda: workers.ask(request)) for _ in range(7))
    say("query in a worker that starts for it", started)
    say("query in a spare worker", ready, f"ratio {started / ready:.1f}")


@contextmanager
def served(root: Path | str) -> Iterator[str]:
    port = refuse_taken_port("127.0.0.1", 0)
    code = (
        "from cc_ray.serve import serve_store, stay;"
        f"serve_store({str(root)!r}, port={port}); print('ready', flush=True); stay()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    try:
        assert process.stdout and process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        assert process.stdout
        process.stdout.close()


def ask(url: str, query: str, seconds: float, query_id: str, source: str = "127.0.0.1") -> None:
    body = json.dumps({"query": query, "seconds": seconds, "query_id": query_id}).encode()
    connection = HTTPConnection(url.removeprefix("http://"), timeout=90, source_address=(source, 0))
    with closing(connection):
        connection.request("POST", "/api/v1/sql", body, {"Content-Type": "application/json"})
        connection.getresponse().read()


def cancelled(url: str, query_id: str) -> bool:
    asked = urllib.request.Request(f"{url}/api/v1/sql/{query_id}", method="DELETE")
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return bool(answer.status == 204)
    except urllib.error.HTTPError as error:
        error.close()
        return False


def seconds(url: str) -> float:
    return timed(lambda: urllib.request.urlopen(url, timeout=60).read())


def median(url: str) -> float:
    return statistics.median(seconds(url) for _ in range(TIMES))


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def timed_later(work: Callable[[], object]) -> float:
    # The spare one needs its time to get ready.
    time.sleep(2)
    return timed(work)


def say(what: str, seconds: float, more: str = "") -> None:
    sys.stdout.write(f"\n{what}: {1000 * seconds:.1f} ms; {more}".rstrip("; "))
