import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cc_ray.errors import CcRayError, StoreError
from cc_ray.serve import guarded, refuse_taken_port, serve_store
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


class Websocket:
    """What the guard needs of one."""

    def __init__(self, **headers: str) -> None:
        self.headers = headers
        self.closed: int | None = None

    async def close(self, code: int, reason: str) -> None:
        self.closed = code


def visited(websocket: Websocket) -> list[str]:
    """What happens to a websocket: connected and lost, or nothing."""
    seen: list[str] = []

    async def connect(self: Any, websocket: Websocket) -> None:
        seen.append("connected")
        raise ConnectionError

    handler = SimpleNamespace(
        connection="connection", application=SimpleNamespace(client_lost=lambda connection: seen.append("lost"))
    )
    try:
        asyncio.run(guarded(connect)(handler, websocket))  # type: ignore[arg-type]
    except ConnectionError:
        seen.append("raised")
    return seen


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null"])
def test_a_foreign_origin_is_refused(origin: str) -> None:
    websocket = Websocket(origin=origin, host="127.0.0.1:8765")

    assert visited(websocket) == []
    assert websocket.closed == 1008


def test_a_session_is_let_go_of_however_its_tab_ends() -> None:
    websocket = Websocket(origin="http://127.0.0.1:8765", host="127.0.0.1:8765")

    assert visited(websocket) == ["connected", "lost", "raised"]
