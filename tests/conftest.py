"""Fixtures that many tests share because they are slow to make: one Ray cluster, and base models that are trained."""

import logging
import os
import secrets
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch
from moto.server import ThreadedMotoServer

from cc_ray.recipe import Recipe
from cc_ray.store import Store
from tests.store import azurite


@pytest.fixture(autouse=True)
def _drawn_alike() -> None:
    """What a test draws without a seed is the same whichever tests went before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A small real Ray of this test session alone; ended with it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")):
        # Ray would write a token to the home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ray.init(
        "local",
        num_cpus=2,
        resources={"timing": 1},
        include_dashboard=False,
        object_store_memory=128 * 2**20,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def _object_store() -> Iterator[str]:
    """Address of an S3-compatible server on this machine."""
    logging.getLogger("werkzeug").disabled = True
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket_url(_object_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a new bucket, which this process and those that it starts may use."""
    name = f"bucket-{secrets.token_hex(8)}"
    settings = {
        "AWS_ENDPOINT_URL": _object_store,
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "secret of the tester",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "CC_RAY_CACHE": str(tmp_path / "cache"),
    }
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    urllib.request.urlopen(urllib.request.Request(f"{_object_store}/{name}", method="PUT")).close()
    return f"s3://{name}"


@pytest.fixture
def container_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a new container of Azurite, Microsoft's own server of Azure's blob storage (`npm install azurite`)."""
    if (program := shutil.which("azurite-blob")) is None:
        pytest.skip("azurite-blob is not on the PATH: npm install azurite")
    with azurite.server(program) as endpoint:
        settings = azurite.settings(endpoint) | {"CC_RAY_CACHE": str(tmp_path / "cache")}
        for key, value in settings.items():
            monkeypatch.setenv(key, value)
        yield f"az://{azurite.new_container(endpoint)}"


@pytest.fixture(params=["folder", "bucket", pytest.param("container", marks=pytest.mark.slow)])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a store can be: its contract is the same for each."""
    if request.param == "folder":
        return tmp_path / "store"
    return f"{request.getfixturevalue(f'{request.param}_url')}/some/store"


@pytest.fixture(scope="session")
def _bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cc_ray.tasks.digits import Digits
    from cc_ray.trial import run_trial

    store = Store(tmp_path_factory.mktemp("bases") / "store", create=True)
    run_trial(store, Digits(), Recipe("resnet"))
    return store.layout.root


@pytest.fixture
def digits_store(_bases: Path, tmp_path: Path) -> Store:
    """A store of its own that holds the trained residual network of the digits task, measured and timed."""
    return Store(shutil.copytree(_bases, tmp_path / "store"))
