"""A small store served by the API, without a server between."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from cc_ray.api import build_api
from cc_ray.store import Store
from tests.benchmarks.make_store import make_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of a few models with all kinds of rows."""
    return make_store(tmp_path_factory.mktemp("api") / "store", models=8, instances=60)


@pytest.fixture(scope="session")
def api(store: Store) -> Iterator[FastAPI]:
    """The API."""
    made = build_api(store.root)
    yield made
    made.state.desk.workers.close()


@pytest.fixture(scope="session")
def app(api: FastAPI) -> FastAPI:
    """The API where it is mounted in service."""
    whole = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    whole.mount("/api", api)
    return whole


@pytest.fixture(scope="session")
def client(app: FastAPI) -> Iterator[TestClient]:
    """A program that asks."""
    with TestClient(app, base_url="http://127.0.0.1:8765") as made:
        yield made


@pytest.fixture(scope="session")
def ids(store: Store) -> list[str]:
    """Identities of the models of one base, the base first."""
    rows = store.read("models").to_pylist()
    return [row["model_id"] for row in sorted(rows, key=lambda row: row["step_index"]) if row["base"] == "resnet"]
