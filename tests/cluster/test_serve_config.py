"""The Serve config: as Ray Serve wants it, and what it may say of the application."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from cc_ray import serve
from cc_ray.errors import CcRayError, StoreError
from cc_ray.serve.login.file import Person
from cc_ray.serve.login.writing import put
from cc_ray.store import Store
from tests.cluster.files import read


def test_serve_takes_the_config() -> None:
    config = ServeDeploySchema.model_validate(read("serve.yaml"))

    (application,) = config.applications
    assert application.import_path == f"{serve.__name__}:{serve.configured.__name__}"
    assert application.name == serve.NAME
    # It comes without a login.
    assert config.http_options.host == "127.0.0.1"
    assert tuple(application.args["hosts"]) == serve.LOCAL


def test_the_store_is_the_one_of_the_config_else_that_of_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store", create=True)

    serve.configured({"store": str(store.root)})
    monkeypatch.setenv("CC_RAY_STORE", str(store.root))
    serve.configured({})


def test_what_cannot_be_served_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC_RAY_STORE", raising=False)

    with pytest.raises(CcRayError, match="not a whole path"):
        serve.configured({})
    with pytest.raises(CcRayError, match="'cc-ray-store' is not a whole path"):
        serve.configured({"store": "cc-ray-store"})
    with pytest.raises(StoreError, match="not a CC-Ray store"):
        serve.configured({"store": str(tmp_path)})
    store = str(Store(tmp_path / "store", create=True).root)
    with pytest.raises(CcRayError, match=r"'login.toml' is not a whole path"):
        serve.configured({"store": store, "login": "login.toml"})
    with pytest.raises(CcRayError, match=r"login file .* cannot be read"):
        serve.configured({"store": store, "login": str(tmp_path / "login.toml")})
    for wrong in ({"replicas": 0}, {"proxies": ["nginx"]}, {"session_hours": 0}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            serve.configured({"store": store, **wrong})
    with pytest.raises(ValidationError, match="host"):
        serve.configured({"host": "0.0.0.0"})


def test_login_replicas_and_proxies_are_set_there(tmp_path: Path) -> None:
    login = tmp_path / "login.toml"
    put(login, "anna", Person(role="operator", token="sha256$x"))
    given = {"login": str(login), "replicas": 3, "proxies": ["10.0.0.0/8"], "session_hours": 2}

    made = serve.configured({"store": str(Store(tmp_path / "store", create=True).root), **given})

    assert made._bound_deployment.num_replicas == 3
