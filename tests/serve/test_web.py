"""What the web application tells browsers and bears from them."""

import re
from pathlib import Path

import pytest

from cc_ray.serve import throttle
from cc_ray.serve.headers import marked
from cc_ray.store import Store
from tests.serve.conftest import Open
from tests.serve.visitor import TOKEN


def test_dashboard_api_and_health_answer_to_known_names_alone(visit: Open) -> None:
    visitor = visit()

    assert visitor.get("/healthz").json() == {"status": "ok"}
    assert visitor.client.get("/api/v1/models").json()["rows"] == []
    assert visitor.get("/api/v1/models", Host="evil.example").status_code == 400


def test_a_store_that_is_away_is_not_well(tmp_path: Path, visit: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = visit()

    def away(root: str) -> Store:
        raise OSError("/secret/folder is away")

    monkeypatch.setattr("cc_ray.serve.health.Store", away)

    answer = visitor.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "the store cannot be read"})


@pytest.mark.parametrize("path", ["/", "/login", "/healthz", "/api/v1/models", "/static/js/bokeh.min.js", "/none"])
def test_every_answer_tells_browsers_what_they_may_do(visit: Open, login: Path, path: str) -> None:
    visitor = visit(login=str(login))
    if path != "/login":
        visitor.log_in("anna")

    headers = visitor.get(path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe-inline" not in re.sub("style-src[^;]*", "", headers["content-security-policy"])
    assert "strict-transport-security" not in headers


def test_only_the_scripts_of_a_page_run_in_it() -> None:
    page = b'<script src="a.js"></script><script type="x">let a = "<script>b"</script><p onclick="c"><SCRIPT>d</SCRIPT>'

    assert marked(page, "N") == (
        b'<script src="a.js"></script><script nonce="N" type="x">let a = "<script>b"</script><p onclick="c">'
        b'<script nonce="N">d</SCRIPT>'
    )


def test_every_page_has_a_nonce_of_its_own(visit: Open) -> None:
    visitor = visit()

    pages = [visitor.get("/") for _ in range(2)]

    nonces = [re.findall(r"'nonce-([^']+)'", page.headers["content-security-policy"]) for page in pages]
    assert all(f'<script nonce="{nonce[0]}"' in page.text for page, nonce in zip(pages, nonces, strict=True))
    assert nonces[0] != nonces[1]


def test_a_proxy_is_believed_only_if_it_is_known(visit: Open, login: Path) -> None:
    sent = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "lab.example", "X-Forwarded-For": "9.9.9.9, 192.0.2.7"}
    known = visit("10.0.0.5", login=str(login), hosts=["lab.example"], proxies=["10.0.0.0/8"])
    unknown = visit("192.0.2.5", login=str(login), hosts=["lab.example"], proxies=["10.0.0.0/8"])

    form = {"name": "anna", "password": "correct horse"}
    entered = known.client.post("/login", data=form, headers={"Origin": "https://lab.example", **sent})

    assert entered.status_code == 303
    assert re.match(r"__Host-cc-ray=.*; HttpOnly; .*; Path=/; SameSite=lax; Secure$", entered.headers["set-cookie"])
    assert entered.headers["strict-transport-security"].startswith("max-age=")
    assert unknown.get("/login", **sent).status_code == 400
    named = unknown.get("/login", **{**sent, "Host": "lab.example"})
    assert named.status_code == 200 and "strict-transport-security" not in named.headers


def test_addresses_ask_so_much_and_no_more(visit: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "REQUESTS", (0.01, 5))
    monkeypatch.setattr(throttle, "PAGES", (0.01, 2))
    visitor = visit(proxies=["127.0.0.1"], hosts=["*"])

    def statuses(path: str, address: str, times: int) -> list[int]:
        return [visitor.get(path, X_Forwarded_For=address).status_code for _ in range(times)]

    assert statuses("/healthz", "192.0.2.1", 6) == [200] * 5 + [429]
    assert statuses("/", "192.0.2.2", 3) == [200, 200, 429]
    assert statuses("/healthz", "192.0.2.3", 1) == [200]


def test_metrics_tell_what_happened(visit: Open, login: Path) -> None:
    visitor = visit(login=str(login))
    visitor.log_in("anna", "wrong")
    visitor.log_in("rob")
    visitor.page()
    assert visitor.get("/metrics").status_code == 403

    visitor.client.cookies.clear()
    told = visitor.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})

    assert told.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        'cc_ray_requests_total{kind="page",replica="local",status="200"} 1.0',
        'cc_ray_login_failures_total{reason="wrong",replica="local"} 1.0',
        'cc_ray_request_duration_seconds_count{kind="page",replica="local"} 1.0',
        'cc_ray_open_sessions{replica="local"} 0.0',
        "# TYPE cc_ray_request_duration_seconds histogram",
    ):
        assert line in told.text.splitlines(), told.text
    assert re.search(r"^cc_ray_store_version_age_seconds\{.*\} \d", told.text, re.MULTILINE)


def test_what_all_pages_share_is_fetched_once(visit: Open, login: Path) -> None:
    visitor = visit(login=str(login))
    visitor.log_in("anna")
    page = visitor.page()

    named = set(re.findall(r'(?<=href="\./)static/cc-ray/[0-9a-f]{20}\.(?:css|js)', page))

    assert {address.rpartition(".")[2] for address in named} == {"css", "js"}
    for address in named:
        answer = visitor.get(f"/{address}")
        assert answer.status_code == 200 and answer.text not in page
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"].startswith("text/css" if address.endswith("css") else "text/javascript")
    assert len(page) < 20_000


def test_files_of_another_version_are_not_there_and_not_remembered(visit: Open) -> None:
    answer = visit().get(f"/static/cc-ray/{'0' * 20}.js")

    assert answer.status_code == 404
    assert "cache-control" not in answer.headers
