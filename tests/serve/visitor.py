"""Somebody who asks the web application, as a browser or a program does."""

import json
import re
from typing import Any

from bokeh.util.token import get_token_payload
from starlette.testclient import TestClient

ADDRESS = "http://127.0.0.1:8765"
TOKEN = "ccr_a-token-of-a-program"
PASSWORDS = {"anna": "correct horse", "rob": "battery staple"}
HTML = {"Accept": "text/html"}


class Visitor:
    """One browser, or one program."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.origin = str(client.base_url).rstrip("/")
        self.websocket = self.origin.replace("http", "ws", 1) + "/ws"

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(
            path, headers={**HTML, **{name.replace("_", "-"): text for name, text in headers.items()}}
        )

    def page(self, path: str = "/", **headers: str) -> str:
        """The page of the dashboard."""
        answer = self.get(path, **headers)
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    def log_in(self, name: str, password: str | None = None, wanted: str = "/") -> Any:
        form = {"name": name, "password": PASSWORDS[name] if password is None else password, "next": wanted}
        return self.client.post("/login", data=form, headers={"Origin": self.origin})

    def connect(self, page: str, **headers: str) -> str:
        """Open the websocket of a page: the first message; raises WebSocketDisconnect where it is refused."""
        sent = {"Origin": self.origin, **headers}
        with self.client.websocket_connect(
            self.websocket, subprotocols=["bokeh", token(page)], headers=sent
        ) as websocket:
            return str(json.loads(websocket.receive_text())["msgtype"])


def token(page: str) -> str:
    """The token with which a page's tab connects."""
    found = re.search(r'"token":\s*"([^"]+)"', page)
    assert found, page[:500]
    return found[1]


def told(page: str) -> dict[str, Any]:
    """What a page's token tells its scripts."""
    return get_token_payload(token(page))
