"""Clusters whose nodes come when they are needed: the autoscaler is Ray's own, its nodes are processes here."""

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cc_ray.store import Store
from tests.search.driving import driver_environment, finish, node, space_file

AUTOSCALER = {
    "cluster_name": "grows",
    "max_workers": 2,
    "idle_timeout_minutes": 5,
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
    **{name: [] for name in ("initialization_commands", "setup_commands", "head_setup_commands")},
    **{name: [] for name in ("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")},
    **{"auth": {}, "file_mounts": {}, "cluster_synced_files": [], "file_mounts_sync_continuously": False},
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    ours = driver_environment(tmp_path_factory.mktemp("plugin"), "")
    return {**ours, "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}


@pytest.fixture
def head(environment: Mapping[str, str], tmp_path: Path) -> Iterator[str]:
    """Address of a head without a CPU, with an autoscaler."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = tmp_path / "autoscaler.yaml"
    provider = {"type": "fake_multinode", "gcs_address": f"127.0.0.1:{port}"}
    file.write_text(json.dumps(AUTOSCALER | {"provider": provider}))  # JSON is YAML.
    options = [
        "--head",
        f"--port={port}",
        "--num-cpus=0",
        "--node-ip-address=127.0.0.1",
        "--include-dashboard=false",
        f"--autoscaling-config={file}",
    ]
    with node(environment, tmp_path / "log", *options):
        yield f"127.0.0.1:{port}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_begins_on_a_head_without_a_cpu_and_an_autoscaler_brings_nodes(
    head: str, environment: Mapping[str, str], tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", create=True)

    said = finish(space_file(tmp_path), store, environment, "--address", head, timeout_s=200)

    assert "no node has 1 CPU yet: waiting for one" in said
    assert store.read("models").num_rows == 1 + 3 + 3
    assert {row["state"] for row in store.read("trials").to_pylist()} >= {"finished"}
    last = store.read("studies").sort_by("at").to_pylist()[-1]
    assert json.loads(last["environment"])["cluster"]["CPU"] >= 1
