"""Logging in by name and password, and what is closed to whoever has not."""

import logging
import re
from pathlib import Path

import pytest
from starlette.websockets import WebSocketDisconnect

from cc_ray.serve.login.door import Door
from cc_ray.serve.login.file import LoginFile
from cc_ray.serve.login.routes import within
from tests.serve.conftest import Open
from tests.serve.visitor import ADDRESS, PASSWORDS, TOKEN, Visitor, token, told


def cookie_of(visitor: Visitor) -> str:
    return str(visitor.client.cookies["cc-ray"])


def test_nothing_of_the_store_is_open_to_strangers(visit: Open, login: Path) -> None:
    stranger = visit(login=str(login))

    asked = stranger.get("/?page=layers&models=a,b")
    assert asked.status_code == 303
    assert asked.headers["location"] == "/login?next=%2F%3Fpage%3Dlayers%26models%3Da%2Cb"
    assert stranger.get("/api/v1/models").status_code == 401
    assert stranger.get("/api/v1/models").json()["detail"].startswith("nobody is logged in")
    assert stranger.get("/api/openapi.json").status_code == stranger.get("/metrics", Accept="*/*").status_code == 401
    for path in ("/healthz", "/login", "/static/js/bokeh.min.js"):
        assert stranger.get(path).status_code == 200, path


def test_whoever_logs_in_goes_where_they_wanted_to(visit: Open, login: Path) -> None:
    anna = visit(login=str(login))

    entered = anna.log_in("anna", wanted="/?page=layers")

    assert (entered.status_code, entered.headers["location"]) == (303, "/?page=layers")
    assert re.search(r"cc-ray=\S+; HttpOnly; Max-Age=43200; Path=/; SameSite=lax$", entered.headers["set-cookie"])
    page = anna.page("/?page=layers")
    assert "<b>anna</b> operator" in page
    assert anna.connect(page) == "ACK"
    assert anna.client.get("/api/v1/models").status_code == 200
    assert anna.get("/login?next=/x").headers["location"] == "/x"


def test_a_wrong_password_says_no_more_than_that(visit: Open, login: Path) -> None:
    visitor = visit(login=str(login))

    wrong = visitor.log_in("anna", "wrong")
    nobody = visitor.log_in("nobody", "wrong")
    program = visitor.log_in("nightly", "")

    assert wrong.status_code == nobody.status_code == program.status_code == 401
    assert 'role="alert">Name or password is wrong.' in wrong.text
    assert wrong.text.replace("anna", "nobody") == nobody.text
    assert "cc-ray" not in visitor.client.cookies


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example"}, {"Origin": "null"}])
def test_forms_of_other_pages_are_refused(visit: Open, login: Path, headers: dict[str, str]) -> None:
    visitor = visit(login=str(login))

    sent = visitor.client.post("/login", data={"name": "anna", "password": PASSWORDS["anna"]}, headers=headers)

    assert sent.status_code == visitor.client.post("/logout", headers=headers).status_code == 403
    assert not visitor.client.cookies


def test_a_tab_is_told_who_looks_and_no_client_can_say_so(visit: Open, login: Path) -> None:
    rob = visit(login=str(login))
    rob.log_in("rob")

    page = rob.page(**{"X-CC-Ray-User": "anna", "x-cc-ray-role": "operator"})

    assert "<b>rob</b> reader" in page and "anna" not in page
    assert rob.connect(page, **{"X-CC-Ray-Role": "operator"}) == "ACK"


def test_scripts_of_the_page_see_no_cookie(visit: Open, login: Path) -> None:
    anna = visit(login=str(login))
    anna.log_in("anna")

    page = anna.page(Authorization="Bearer secret", Referer=ADDRESS)

    assert told(page)["headers"] == {"X-Cc-Ray-User": "anna", "X-Cc-Ray-Role": "operator"}
    assert told(page)["cookies"] == {}
    assert cookie_of(anna) not in page


def test_nobody_enters_the_tab_of_another_one(visit: Open, login: Path) -> None:
    visitor = visit(login=str(login))
    visitor.log_in("anna")
    page = visitor.page()
    visitor.client.cookies.clear()

    with pytest.raises(WebSocketDisconnect) as stranger:
        visitor.connect(page)
    visitor.log_in("rob")
    with pytest.raises(WebSocketDisconnect) as other:
        visitor.connect(page)

    assert stranger.value.code == other.value.code == 1008


@pytest.mark.parametrize("name", ["bokeh_session_id", "bokeh%5Fsession%5Fid", "bokeh-session-id"])
def test_nobody_names_the_tab_that_another_one_gets(visit: Open, name: str) -> None:
    visitor = visit()

    first, second = (visitor.page(f"/?{name}=known&page=layers") for _ in range(2))

    assert token(first).split(".")[0] != token(second).split(".")[0]
    assert told(first)["arguments"] == {"page": [b"layers"]}


def test_a_login_ends(visit: Open, login: Path) -> None:
    anna = visit(login=str(login))
    anna.log_in("anna")
    kept = cookie_of(anna)

    left = anna.client.post("/logout", headers={"Origin": anna.origin})

    assert (left.status_code, left.headers["location"]) == (303, "/login?out=1")
    assert "You are signed out." in anna.get("/login?out=1").text
    assert not anna.client.cookies
    assert anna.get("/", Cookie=f"cc-ray={kept}").status_code == 303


def test_cookies_that_are_not_ours_or_over_are_not_taken(login: Path) -> None:
    file = LoginFile(login)
    door = Door(file, hours=1)
    cookie = door.cookie("anna")
    body, _, signature = cookie.partition(".")

    known = door.known_by(cookie)
    assert known and (known.name, known.role) == ("anna", "operator")
    others = [Door(file, hours=-1).cookie("anna"), f"{body}x.{signature}", f"{body}.", body, "", "é.é", "x" * 5000]
    assert [door.known_by(other) for other in others] == [None] * len(others)


@pytest.mark.parametrize("change", ["scrypt$other", "gone"])
def test_a_login_ends_with_the_password_it_was_made_with(login: Path, change: str) -> None:
    door = Door(LoginFile(login), hours=1)
    cookie, other = door.cookie("anna"), door.cookie("rob")

    text = login.read_text()
    login.write_text(re.sub('"anna"', '"eva"', text) if change == "gone" else text.replace("scrypt$", change, 1))

    assert door.known_by(cookie) is None
    assert door.known_by(other)


def test_programs_send_a_token_or_a_name_and_password(visit: Open, login: Path) -> None:
    program = visit(login=str(login))

    def status(path: str = "/api/v1/models", **headers: str) -> int:
        return int(program.client.get(path, headers=headers).status_code)

    assert status(Authorization=f"Bearer {TOKEN}") == 200
    assert status("/metrics", Authorization=f"Bearer {TOKEN}") == 200
    assert status(Authorization=f"Bearer {TOKEN}x") == status(Authorization="Bearer ") == 401
    answers = [program.client.get("/api/v1/models", auth=("rob", PASSWORDS["rob"])).status_code for _ in range(3)]
    assert answers == [200] * 3
    assert program.client.get("/api/v1/models", auth=("rob", "wrong")).status_code == 401
    assert status(Authorization="Basic !") == status(Authorization="Digest x") == 401


def test_many_wrong_passwords_are_followed_by_a_wait(visit: Open, login: Path) -> None:
    visitor = visit(login=str(login))
    for _ in range(10):
        visitor.client.get("/api/v1/models", auth=("nobody", "wrong"))

    waits = visitor.log_in("anna")

    assert waits.status_code == 429
    assert int(waits.headers["retry-after"]) >= 1
    assert "too many tries" in waits.text
    assert visitor.client.get("/api/v1/models", auth=("anna", "x")).status_code == 429


def test_without_a_login_this_machine_operates_and_others_read(visit: Open) -> None:
    here = visit()
    there = visit("192.0.2.7", hosts=["*"])
    proxied = visit()
    renamed = visit(hosts=["*"], url="http://evil.example")

    assert told(here.page())["headers"]["X-Cc-Ray-Role"] == "operator"
    assert "read only" in there.page()
    for visitor, headers in ((there, {}), (proxied, {"X-Forwarded-For": "192.0.2.7"}), (renamed, {})):
        page = visitor.page(**headers, **{"X-Cc-Ray-Role": "operator"})
        assert told(page)["headers"] == {"X-Cc-Ray-User": "", "X-Cc-Ray-Role": "reader"}
    assert there.get("/metrics").status_code == 403


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "javascript:x",
        "",
        "/\t/evil",
        "x",
    ],
)
def test_a_login_leads_to_no_other_site(address: str) -> None:
    assert within(address) == "/"


def test_the_log_holds_no_secret(visit: Open, login: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    anna = visit(login=str(login))
    anna.log_in("anna", "a wrong password")
    anna.log_in("anna")
    page = anna.page()
    anna.connect(page)
    anna.client.get("/api/v1/models", headers={"Authorization": f"Bearer {TOKEN}"})

    for secret in ("a wrong password", PASSWORDS["anna"], TOKEN, cookie_of(anna), token(page)):
        assert secret not in caplog.text
