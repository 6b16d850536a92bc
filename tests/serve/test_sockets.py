"""Websockets: only of our own pages, only of tabs that are here, and each let go of."""

import json
import time
from pathlib import Path

import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id
from starlette.websockets import WebSocketDisconnect

from cc_ray.serve.login import gate
from tests.serve.conftest import Open
from tests.serve.visitor import Visitor, token


def sessions(visitor: Visitor) -> float:
    """Open tabs, as counted."""
    line = next(line for line in visitor.get("/metrics").text.splitlines() if line.startswith("cc_ray_open_sessions{"))
    return float(line.split()[-1])


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null"])
def test_a_foreign_origin_is_refused(visit: Open, origin: str) -> None:
    visitor = visit()
    page = visitor.page()

    with pytest.raises(WebSocketDisconnect) as refused:
        visitor.connect(page, Origin=origin)

    assert refused.value.code == 1008


def test_a_session_is_let_go_of_when_its_tab_ends(visit: Open) -> None:
    visitor = visit()
    page = visitor.page()

    with visitor.client.websocket_connect(visitor.websocket, subprotocols=["bokeh", token(page)]) as websocket:
        assert json.loads(websocket.receive_text())["msgtype"] == "ACK"
        assert sessions(visitor) == 1

    until = time.monotonic() + 10
    while sessions(visitor) and time.monotonic() < until:
        pass
    assert sessions(visitor) == 0


@pytest.mark.parametrize("key", [b"another key", None])
def test_a_token_that_was_made_elsewhere_is_refused(visit: Open, key: bytes | None) -> None:
    session = generate_session_id(key, signed=bool(key))
    forged = generate_jwt_token(session, key, signed=bool(key), extra_payload={"headers": {}})
    visitor = visit()

    for made in (forged, "", "x", "x.y", "e30.x"):
        with pytest.raises(WebSocketDisconnect) as refused:
            visitor.connect(f'"token":"{made}"' if made else '"token": " "')
        assert refused.value.code == 1008


def test_a_tab_of_another_process_is_refused(visit: Open) -> None:
    one, other = visit(), visit()

    with pytest.raises(WebSocketDisconnect):
        other.connect(one.page())


def test_a_tab_ends_with_its_login(visit: Open, login: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_LOOK_S", 0.05)
    rob = visit(login=str(login))
    rob.log_in("rob")

    with rob.client.websocket_connect(rob.websocket, subprotocols=["bokeh", token(rob.page())]) as websocket:
        websocket.receive_text()
        login.write_text(login.read_text().replace('"rob"', '"bob"'))
        with pytest.raises(WebSocketDisconnect) as ended:
            while True:
                websocket.receive_text()

    assert ended.value.code == 1008
