import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from cc_ray.errors import CcRayError, StoreError
from cc_ray.serve import refuse_taken_port, serve_store
from cc_ray.store import Store


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(CcRayError, match=f"cannot listen on 127.0.0.1:{port}.*--port"):
            serve_store(store.root, port=port)


def test_port_0_is_a_free_one() -> None:
    assert refuse_taken_port("127.0.0.1", 0) > 0


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a CC-Ray store"):
        serve_store(tmp_path)


def test_the_web_application_is_made_without_torch(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    code = (
        f"import sys; from cc_ray.serve import build_app; app = build_app({str(store.root)!r});"
        "print('torch' in sys.modules, '/healthz' in [getattr(route, 'path', '') for route in app.routes])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.split() == ["False", "True"]


def test_dashboard_and_api_answer_together_under_ray_serve(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    port = refuse_taken_port("127.0.0.1", 0)
    code = (
        "from cc_ray.serve import serve_store, stay;"
        f"serve_store({str(store.root)!r}, port={port}); print('ready', flush=True); stay()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    try:
        assert process.stdout and process.stdout.readline()
        question = json.dumps({"query": "SELECT 1 AS one"}).encode()
        asked = urllib.request.Request(f"{url}/api/v1/sql", question, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert json.load(answer)["rows"] == [{"one": 1}]
        for path, said in (("/healthz", "ok"), ("/api/openapi.json", "/v1/sql"), ("/", "<html")):
            with urllib.request.urlopen(url + path, timeout=60) as answer:
                assert said in answer.read().decode()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        assert process.stdout
        process.stdout.close()
