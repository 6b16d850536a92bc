"""A study on a cluster of two nodes that loses one of them: a worker's, or the head."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from cc_ray.store import Store
from tests.cluster.processes import free_port, short_folder
from tests.search.driving import (
    as_without_fault,
    driver,
    driver_environment,
    finish,
    kill_all,
    node,
    runs,
    space_file,
    states,
    wait_for_worker,
)

StartNode = Callable[..., AbstractContextManager[int]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    # Ray's patience with a lost head, a minute, is as long here as the test needs.
    return driver_environment(tmp_path / "plugin", "") | {"RAY_gcs_rpc_server_reconnect_timeout_s": "25"}


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def head(environment: dict[str, str], address: str, tmp_path: Path) -> Iterator[StartNode]:
    """Starts the head of the cluster, which has one CPU."""
    port = address.rpartition(":")[2]
    with short_folder() as folder:
        options = ("--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false", f"--temp-dir={folder}")
        yield lambda: node(environment, tmp_path / "head.log", *options)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_node_killed_in_mid_step_costs_a_retry(
    digits_store: Store, tmp_path: Path, environment: dict[str, str], address: str, head: StartNode
) -> None:
    more = (f"--address={address}", "--num-cpus=1")
    with (
        head(),
        node(environment, tmp_path / "worker.log", *more) as worker,
        driver(space_file(tmp_path), digits_store, environment, "--address", address) as running,
    ):
        wait_for_worker(running, "step: fine_tune", worker)
        kill_all(worker)
        said, _ = running.communicate(timeout=500)

    assert running.returncode == 0 and "Traceback" not in said, said
    as_without_fault(digits_store)
    # What ran on the node alone was begun again; nothing else was.
    assert not runs(digits_store, "failed", "discarded")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_lost_head_ends_the_driver_which_goes_on_once_there_is_another(
    digits_store: Store, tmp_path: Path, environment: dict[str, str], address: str, head: StartNode
) -> None:
    space = space_file(tmp_path)
    with head() as process, driver(space, digits_store, environment, "--address", address) as running:
        wait_for_worker(running, "step: fine_tune", process)
        kill_all(process)
        said, _ = running.communicate(timeout=500)
    made = runs(digits_store, "published")

    assert running.returncode == 2, said
    assert "has not answered for 15 s" in said and "run the same command" in said and "Traceback" not in said
    assert "finished" not in states(digits_store) or made

    (tmp_path / "head.log").unlink()
    with head():
        finish(space, digits_store, environment, "--address", address)

    as_without_fault(digits_store)
    assert not runs(digits_store, "discarded", "failed") and made.items() <= runs(digits_store, "published").items()
