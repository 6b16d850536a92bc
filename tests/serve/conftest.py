"""A store, a login file, and the web application as a replica makes it, asked without a network."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cc_ray.serve import LOCAL, Settings, build_app
from cc_ray.serve.login import passwords
from cc_ray.serve.login.file import Person
from cc_ray.serve.login.passwords import digest, hashed
from cc_ray.serve.login.writing import put
from cc_ray.store import Store
from tests.serve.visitor import ADDRESS, TOKEN, Visitor

Open = Callable[..., Visitor]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store; tests only read it."""
    return Path(Store(tmp_path_factory.mktemp("serve") / "store", create=True).root)


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """Passwords that cost little: here are no secrets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_LOG2_N", 4)
        passwords.nobodys.cache_clear()
        yield


@pytest.fixture(scope="session")
def login_text(quick_passwords: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A login file with an operator, a reader and a program."""
    path = tmp_path_factory.mktemp("login") / "login.toml"
    put(path, "anna", Person(role="operator", password=hashed("correct horse")))
    put(path, "rob", Person(role="reader", password=hashed("battery staple")))
    put(path, "nightly", Person(role="reader", token=digest(TOKEN)))
    return path.read_text()


@pytest.fixture
def login(login_text: str, tmp_path: Path) -> Path:
    path = tmp_path / "login.toml"
    path.touch(0o600)
    path.write_text(login_text)
    return path


@pytest.fixture
def visit(root: Path) -> Iterator[Open]:
    """Opens the application with some settings, as somebody at an address."""
    with ExitStack() as opened:

        def visit(address: str = "127.0.0.1", url: str = ADDRESS, **settings: object) -> Visitor:
            given = Settings.model_validate({"hosts": LOCAL, **settings})
            client = TestClient(build_app(str(root), given), url, client=(address, 50_000), follow_redirects=False)
            return Visitor(opened.enter_context(client))

        yield visit
