import asyncio
import json
import threading
import time
from collections.abc import MutableMapping
from typing import Any

import pyarrow as pa
from fastapi import FastAPI
from starlette.testclient import TestClient

ENDLESS = "SELECT count(*) FROM range(1000000000000) a WHERE hash(a.range) = 0"


def test_a_query_is_answered_in_pages_that_say_if_there_is_more(client: TestClient) -> None:
    query = "FROM range(10) AS t(i) ORDER BY i"

    first = client.post("/api/sql", json={"query": query, "limit": 4}).json()
    last = client.post("/api/sql", json={"query": query, "limit": 4, "offset": 8}).json()

    assert ([row["i"] for row in first["rows"]], first["truncated"]) == ([0, 1, 2, 3], True)
    assert ([row["i"] for row in last["rows"]], last["truncated"]) == ([8, 9], False)


def test_values_are_parameters_and_answers_come_in_formats(client: TestClient) -> None:
    body = {"query": "SELECT $a AS a, $b AS b", "parameters": {"a": "';--", "b": [1, 2]}}

    assert client.post("/api/sql", json=body).json()["rows"] == [{"a": "';--", "b": [1, 2]}]
    assert client.post("/api/sql", json={**body, "format": "csv"}).text == 'a,b\n\';--,"[1, 2]"\n'
    arrow = client.post("/api/sql", json={**body, "format": "arrow"})
    assert pa.ipc.open_stream(arrow.content).read_all().num_rows == 1
    assert arrow.headers["cc-ray-truncated"] == "false"


def test_a_plan_is_told_without_running(client: TestClient) -> None:
    answer = client.post("/api/sql", json={"query": ENDLESS, "explain": True, "seconds": 30}).json()

    assert "explain_value" in answer["rows"][0]


def test_wrong_sql_is_a_bad_request_that_says_what_to_do(client: TestClient) -> None:
    answer = client.post("/api/sql", json={"query": "SELECT nme FROM models"})

    assert answer.status_code == 400
    assert "DESCRIBE" in answer.json()["detail"]


def test_a_query_that_takes_too_long_says_so(client: TestClient) -> None:
    answer = client.post("/api/sql", json={"query": ENDLESS, "seconds": 0.3})

    assert answer.status_code == 422
    assert "stopped after 0.3 s" in answer.json()["detail"]


def test_a_running_query_is_cancelled_by_its_name(client: TestClient) -> None:
    answers = []
    body = {"query": ENDLESS, "query_id": "my-endless-query", "seconds": 60}
    thread = threading.Thread(target=lambda: answers.append(client.post("/api/v1/sql", json=body)))
    thread.start()
    while client.delete("/api/v1/sql/my-endless-query").status_code == 404:
        time.sleep(0.05)
    thread.join()

    assert answers[0].status_code == 409
    assert "cancelled" in answers[0].json()["detail"]
    assert client.delete("/api/v1/sql/my-endless-query").status_code == 404


def test_a_client_that_goes_away_ends_its_query(api: FastAPI) -> None:
    body = json.dumps({"query": ENDLESS, "seconds": 60}).encode()
    coming = [{"type": "http.request", "body": body}]
    headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": "/v1/sql", "query_string": b"", "headers": headers}
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return coming.pop() if coming else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(api(scope, receive, send))

    assert sent[0]["status"] == 409
