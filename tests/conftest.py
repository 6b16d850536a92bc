"""Fixtures that many tests share because they are slow to make: one Ray cluster, and base models that are trained."""

import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from cc_ray.recipe import Recipe
from cc_ray.store import Store


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
        include_dashboard=False,
        object_store_memory=128 * 2**20,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def _bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cc_ray.tasks.digits import Digits
    from cc_ray.trial import run_trial

    store = Store(tmp_path_factory.mktemp("bases") / "store", create=True)
    run_trial(store, Digits(), Recipe("resnet"))
    return store.root


@pytest.fixture
def digits_store(_bases: Path, tmp_path: Path) -> Store:
    """A store of its own that holds the trained residual network of the digits task, measured and timed."""
    return Store(shutil.copytree(_bases, tmp_path / "store"))
