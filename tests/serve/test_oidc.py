"""Logging in through an OpenID provider that really listens and really signs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from joserfc.jwk import RSAKey

from cc_ray.serve.login.provider import Provider
from tests.serve.conftest import Open
from tests.serve.provider import CLIENT, SECRET, Running, SmallProvider
from tests.serve.visitor import Visitor

ANNA = {"email": "Anna@lab.example", "email_verified": True}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.end()


@pytest.fixture
def provider(running: Running) -> SmallProvider:
    """One that says nothing wrong."""
    provider = running.provider
    provider.claims, provider.header, provider.signs_with, provider.denies = dict(ANNA), {}, None, False
    return provider


@pytest.fixture
def visitor(visit: Open, login: Path, provider: SmallProvider) -> Visitor:
    login.write_text(f"""{login.read_text()}
[oidc]
issuer = "{provider.issuer}"
client_id = "{CLIENT}"
client_secret = "{SECRET}"
title = "the lab"
operators = ["anna@lab.example"]
readers = ["*@lab.example"]
operator_groups = ["ops"]
""")
    return visit(login=str(login))


def go(visitor: Visitor, wanted: str = "/") -> Any:
    """There and back again; the answer to the way back."""
    there = visitor.client.get("/login/oidc", params={"next": wanted})
    assert there.status_code == 303, there.text
    back = requests.get(there.headers["location"], allow_redirects=False, timeout=10).headers["location"]
    parts = urlsplit(back)
    assert f"{parts.scheme}://{parts.netloc}" == visitor.origin
    return visitor.client.get(f"{parts.path}?{parts.query}")


def test_whoever_the_provider_knows_enters(visitor: Visitor) -> None:
    assert "Continue with the lab" in visitor.get("/login").text

    back = go(visitor, "/?page=layers")

    assert (back.status_code, back.headers["location"]) == (303, "/?page=layers")
    page = visitor.page()
    assert "<b>anna@lab.example</b> operator" in page
    assert visitor.connect(page) == "ACK"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://127.0.0.1:1"},
        {"aud": "somebody-else"},
        {"aud": [CLIENT, "other"], "azp": "other"},
        {"exp": 1},
        {"exp": None},
        {"nonce": "another"},
        {"nonce": None},
        {"sub": None},
    ],
)
def test_a_token_that_does_not_check_lets_nobody_in(
    visitor: Visitor, provider: SmallProvider, claims: dict[str, Any]
) -> None:
    provider.claims.update(claims)

    back = go(visitor)

    assert back.status_code == 502 and "could not be checked" in back.text
    assert "cc-ray" not in visitor.client.cookies


def test_a_signature_of_another_key_lets_nobody_in(visitor: Visitor, provider: SmallProvider) -> None:
    provider.signs_with = RSAKey.generate_key(2048, {"kid": "one"})

    assert go(visitor).status_code == 502


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(visitor: Visitor) -> None:
    visitor.client.get("/login/oidc")

    assert visitor.get("/login/oidc/back?code=code-0&state=another").status_code == 400
    visitor.client.cookies.clear()
    assert visitor.get("/login/oidc/back?code=code-0&state=another").status_code == 400


def test_whoever_is_not_listed_or_denied_stays_out(visitor: Visitor, provider: SmallProvider) -> None:
    provider.claims["email"] = "<b>@elsewhere.example"
    unlisted = go(visitor)
    provider.denies = True
    denied = go(visitor)

    assert unlisted.status_code == 403 and "may not enter" in unlisted.text and "<b>@" not in unlisted.text
    assert denied.status_code == 401 and "did not let you in" in denied.text


def test_a_provider_that_does_not_answer_is_said_so(visit: Open, login: Path) -> None:
    login.write_text(login.read_text() + '\n[oidc]\nissuer = "http://127.0.0.1:9"\nclient_id = "x"\n')

    answer = visit(login=str(login)).get("/login/oidc")

    assert answer.status_code == 502 and "does not check (ConnectionError)" in answer.text


def test_roles_come_from_addresses_and_groups() -> None:
    provider = Provider(
        issuer="https://id.example",
        client_id="x",
        operators=("Anna@lab.example",),
        readers=("*@lab.example",),
        operator_groups=("ops",),
        reader_groups=("all",),
    )

    def role(email: str = "", verified: bool = True, groups: Any = ()) -> str | None:
        return provider.role({"email": email, "email_verified": verified, "groups": groups})

    assert role("anna@LAB.example") == "operator"
    assert role("bob@lab.example") == "reader"
    assert role(groups=["ops"]) == role(groups="ops") == "operator"
    assert role(groups=["all", "more"]) == "reader"
    unknown = [role("anna@lab.example", verified=False), role("x@notlab.example"), role("a@b@lab.example"), role()]
    assert unknown == [None] * 4
