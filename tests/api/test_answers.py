import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from cc_ray.api import build_api
from cc_ray.compare.catalogue import QUESTIONS
from cc_ray.schema import TABLES
from cc_ray.store.compaction import compact
from tests.compare.small import add_model, new_store


def test_models_come_in_pages_that_lead_to_each_other(client: TestClient) -> None:
    first = client.get("/api/v1/models?limit=3")

    assert first.status_code == 200
    assert (first.json()["total"], len(first.json()["rows"])) == (8, 3)
    second = client.get(f"/api/v1/models{first.headers['link'].partition('>')[0][1:]}")
    assert second.json()["offset"] == 3
    assert 'rel="next"' in second.headers["link"] and 'rel="prev"' in second.headers["link"]
    assert not {row["model_id"] for row in first.json()["rows"]} & {row["model_id"] for row in second.json()["rows"]}


def test_models_are_filtered_and_sorted_by_metrics(client: TestClient) -> None:
    rows = client.get("/api/models?sort=-accuracy&at_least=accuracy:0.2&at_most=size_bytes:1e9").json()["rows"]

    found = [row["accuracy"] for row in rows]
    assert found and found == sorted(found, reverse=True)
    assert client.get("/api/models?base=resnet&at_least=accuracy:2").json()["rows"] == []


def test_one_model_tells_all(client: TestClient, ids: list[str]) -> None:
    card = client.get(f"/api/v1/models/{ids[-1][:8]}").json()

    assert card["model"]["model_id"] == ids[-1]
    assert card["ancestors"][0]["model_id"] == ids[0]
    assert {row["metric"] for row in card["metrics"]} > {"accuracy", "size_bytes"}


def test_a_model_that_is_not_there_names_the_nearest(client: TestClient, ids: list[str]) -> None:
    answer = client.get(f"/api/v1/models/{ids[0][:-1]}x")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert ids[0] in answer.json()["detail"]


def test_lineage_gives_edges_and_relatives(client: TestClient, ids: list[str]) -> None:
    edges = client.get("/api/v1/lineage").json()["rows"]
    assert {"child", "parent", "role"} <= edges[0].keys()

    below = client.get(f"/api/v1/lineage/descendants?ids={ids[0]}").json()["rows"]
    assert {row["model_id"] for row in below} == set(ids[1:])


def test_studies_and_their_trials_are_there(client: TestClient) -> None:
    study = client.get("/api/studies").json()["rows"][0]["study_id"]

    assert client.get(f"/api/studies/{study}/trials").json()["total"] > 0
    assert "did you mean" in client.get(f"/api/studies/{study}x/trials").json()["detail"]


def test_every_column_of_every_table_is_described(client: TestClient) -> None:
    rows = client.get("/api/tables?limit=10000").json()["rows"]

    assert {(t.name, c.name) for t in TABLES.values() for c in t.columns} <= {(r["table"], r["column"]) for r in rows}


def test_every_question_of_the_catalogue_has_its_path(client: TestClient) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]

    assert {f"/v1/compare/{question.name}" for question in QUESTIONS} <= paths.keys()


def test_questions_answer_with_the_table_asked_for(client: TestClient, ids: list[str]) -> None:
    url = f"/api/v1/compare/differences?ids={ids[0]}&ids={ids[1]}"

    assert client.get(url).json()["tables"] == ["table", "labels", "variables"]
    assert "variable" in client.get(f"{url}&table=variables").json()["rows"][0]
    assert "choose one of table, labels, variables" in client.get(f"{url}&table=x").json()["detail"]


def test_pages_of_instances_are_the_questions_own(client: TestClient, ids: list[str]) -> None:
    page = client.get(f"/api/v1/compare/instances?ids={ids[1]}&base={ids[0]}&limit=7&offset=56").json()

    assert (page["total"], len(page["rows"])) == (60, 4)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("front?objectives=accuracy&objectives=siz_bytes", "size_bytes"),
        ("front", "objectives"),
        ("front?objectives=accuracy&colour=red", "colour"),
        ("front?objectives=accuracy:up", "up"),
        ("recommendations?objectives=accuracy&at_most=size_bytes", "at_most"),
        ("instances?ids=a&base=b&only=some", "only"),
        ("models?limit=0", "limit"),
        ("models?limit=100001", "limit"),
        ("models?offset=-1", "offset"),
        ("models?format=xml", "format"),
        ("lint?" + "&".join(["ids=a"] * 300), "ids"),
    ],
)
def test_wrong_parameters_are_told(client: TestClient, query: str, said: str) -> None:
    answer = client.get(f"/api/v1/compare/{query}")

    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_an_answer_comes_in_every_format(client: TestClient) -> None:
    wanted = [row["model_id"] for row in client.get("/api/models").json()["rows"]]

    parquet = client.get("/api/models?format=parquet").content
    arrow = client.get("/api/models", headers={"Accept": "application/vnd.apache.arrow.stream"}).content
    csv = client.get("/api/models", headers={"Accept": "text/csv, application/json;q=0.5"})

    assert pq.read_table(io.BytesIO(parquet))["model_id"].to_pylist() == wanted
    assert pa.ipc.open_stream(arrow).read_all()["model_id"].to_pylist() == wanted
    assert csv.text.splitlines()[1].startswith(wanted[0])
    assert client.get("/api/models", headers={"Accept": "image/png"}).status_code == 406


def test_an_answer_that_the_client_has_is_not_sent_again(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_model(store, "aaaa")
    client = TestClient(build_api(store.root))
    tag = client.get("/models").headers["etag"]

    again = client.get("/models", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/models?limit=5", headers={"If-None-Match": tag}).status_code == 200

    add_model(store, "bbbb", parent="aaaa")
    renewed = client.get("/models", headers={"If-None-Match": tag})
    assert (renewed.status_code, renewed.json()["total"]) == (200, 2)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_foreign_pages_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/api/v1/models", headers=headers).status_code == 403
    assert client.post("/api/v1/sql", json={"query": "SELECT 1"}, headers=headers).status_code == 403
    assert client.delete("/api/v1/sql/abcdefgh", headers=headers).status_code == 403


def test_own_pages_are_answered_and_nobody_else_may_read(client: TestClient) -> None:
    answer = client.get("/api/v1/studies", headers={"Origin": "http://127.0.0.1:8765", "Sec-Fetch-Site": "same-origin"})

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"query": "SELECT 1"}', "text/plain", 415),
        (b"query=SELECT+1", "application/x-www-form-urlencoded", 415),
        (b'{"query": ', "application/json", 400),
        (b'{"query": "\xff\xfe"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"query": "\\ud800"}', "application/json", 422),
        (b'{"query": ""}', "application/json", 422),
        (b"{}", "application/json", 422),
        (b'{"query": "SELECT 1", "seconds": 1e9}', "application/json", 422),
        (b'{"query": "SELECT 1", "seconds": NaN}', "application/json", 422),
        (b'{"query": "SELECT 1", "limit": 99999999999999999999}', "application/json", 422),
        (b'{"query": "SELECT 1", "query_id": "../../etc"}', "application/json", 422),
        (b'{"query": "' + b"x" * 2**20 + b'"}', "application/json", 413),
    ],
)
def test_bodies_that_are_no_questions_are_refused(client: TestClient, body: bytes, kind: str, status: int) -> None:
    answer = client.post("/api/v1/sql", content=body, headers={"Content-Type": kind})

    assert answer.status_code == status
    assert json.loads(answer.content)["detail"]


def test_a_body_without_a_length_is_bounded(client: TestClient) -> None:
    pieces = (b" " * 2**16 for _ in range(100))

    answer = client.post("/api/v1/sql", content=pieces, headers={"Content-Type": "application/json"})

    assert answer.status_code == 413


def test_times_are_written_as_iso(client: TestClient) -> None:
    written = client.get("/api/models?limit=1").json()["rows"][0]["created_at"]

    assert datetime.fromisoformat(written).astimezone(UTC).year == 2026


def test_an_etag_stays_when_rows_only_move_to_other_files(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    for name in ("aaaa", "bbbb"):
        add_model(store, name)
    client = TestClient(build_api(store.root))
    tag = client.get("/models").headers["etag"]

    compact(store)

    assert client.get("/models", headers={"If-None-Match": f'"other", W/{tag}'}).status_code == 304
    assert client.get("/models", headers={"If-None-Match": tag[:-2]}).json()["total"] == 2


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("application/json;q=0, */*", "text/csv; charset=utf-8"),
        ("text/*;q=0.4, application/json;q=0.3", "text/csv; charset=utf-8"),
        ("APPLICATION/JSON; charset=utf-8; q=1.0", "application/json"),
        ("application/vnd.apache.parquet, */*;q=0.1", "application/vnd.apache.parquet"),
        ("*/*;q=0", None),
        ("application/json;q=nan", None),
        (",;,", None),
    ],
)
def test_the_accept_header_decides_as_http_has_it(client: TestClient, accept: str, kind: str | None) -> None:
    answer = client.get("/api/studies", headers={"Accept": accept})

    assert (answer.status_code, answer.headers["content-type"]) == (
        (200, kind) if kind else (406, "application/problem+json")
    )


def test_only_a_link_that_somebody_follows_is_answered_from_another_site(client: TestClient) -> None:
    framed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}

    assert client.get("/api/models", headers=framed).status_code == 403
    assert client.get("/api/models", headers={**framed, "Sec-Fetch-User": "?1"}).status_code == 200


def test_parameters_of_the_own_machine_are_not_asked_from_afar(client: TestClient, ids: list[str]) -> None:
    asked = f"/api/compare/slice_behaviours?ids={ids[1]}&base={ids[0]}"

    assert client.get(asked).status_code == 200
    answer = client.get(f"{asked}&conditions=all:true")
    assert (answer.status_code, "conditions" in answer.json()["detail"]) == (422, True)
    described = client.get("/api/openapi.json").json()["paths"]["/v1/compare/slice_behaviours"]["get"]["parameters"]
    assert "conditions" not in {parameter["name"] for parameter in described}


@pytest.mark.parametrize("base", ["@parent", "@base"])
def test_each_models_own_parent_and_base_are_bases(client: TestClient, ids: list[str], base: str) -> None:
    assert client.get(f"/api/compare/behaviours?ids={ids[1]}&base={base}").json()["total"] > 0


def test_pages_of_a_question_that_stops_lead_on(client: TestClient, ids: list[str]) -> None:
    asked = f"/api/compare/most_changed_layers?model={ids[1]}&base={ids[0]}"
    whole = client.get(f"{asked}&limit=4").json()["rows"]

    first, second = (client.get(f"{asked}&limit=2&offset={offset}") for offset in (0, 2))

    assert first.json()["rows"] + second.json()["rows"] == whole
    assert 'rel="next"' in first.headers["link"]


@pytest.mark.parametrize(
    "path",
    ["models/..%2f..%2fetc%2fpasswd", "models/%00", "models/%ff", "models/%F0%9F%92%A9", "studies/%2e%2e/trials", "x"],
)
def test_odd_paths_find_nothing(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/v1/{path}")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST", "OPTIONS"])
def test_other_methods_are_refused(client: TestClient, method: str) -> None:
    answer = client.request(method, "/api/v1/models", headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_a_repeated_parameter_and_too_long_a_query_do_no_harm(client: TestClient) -> None:
    assert len(client.get("/api/models?limit=5&limit=2").json()["rows"]) == 2
    assert client.get("/api/models?base=" + "x" * 40_000).status_code == 413
