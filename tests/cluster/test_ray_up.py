"""The files for `ray up`: as Ray wants them, and their machines as the clouds do."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest
from moto import mock_aws
from moto.ec2.models.instance_types import INSTANCE_TYPES
from ray.autoscaler._private import resource_demand_scheduler as scheduler
from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster.files import read

FILES = ["aws.yaml", "gcp.yaml", "on_premise.yaml"]
CLOUDS = FILES[:2]


@pytest.mark.parametrize("name", FILES)
def test_ray_takes_a_file_and_fills_in_its_defaults(name: str) -> None:
    prepared = prepare_config(read(name))

    validate_config(prepared)

    assert prepared["head_node_type"] in prepared["available_node_types"]
    assert prepared["idle_timeout_minutes"] <= 10


@pytest.mark.parametrize("name", FILES)
def test_the_token_and_the_store_reach_every_node(name: str) -> None:
    config = read(name)
    environments = (
        [config["docker"]["run_options"]]
        if "docker" in config
        else [
            config["head_start_ray_commands"],
            config["worker_start_ray_commands"],
        ]
    )

    assert "~/.ray/auth_token" in config["file_mounts"].values()
    for environment in map(json.dumps, environments):
        assert "RAY_AUTH_MODE=token" in environment and "CC_RAY_STORE=/mnt/cc-ray/store" in environment


@pytest.mark.parametrize("name", CLOUDS)
def test_machines_come_with_the_work_and_those_with_gpus_last(name: str) -> None:
    config = prepare_config(read(name))
    sizes = {"head": {"CPU": 0}, "cpu_worker": {"CPU": 4}, "gpu_worker": {"CPU": 4, "GPU": 1}}
    kinds = {kind: {**found, "resources": sizes[kind]} for kind, found in config["available_node_types"].items()}
    score = partial(scheduler._default_utilization_scorer, node_availability_summary=NodeAvailabilitySummary({}))

    def launched(steps: int, **resources: int) -> dict[str, int]:
        there, room = {"head": 1, "cpu_worker": 1}, config["max_workers"] - 1
        demand = [{"CPU": 1, **resources}] * steps
        return dict(scheduler.get_nodes_for(kinds, there, "head", room, demand, score)[0])

    # A study asks for CPUs before the first worker would be there: `cc-ray run` refuses a cluster without.
    assert kinds["cpu_worker"]["min_workers"] >= 1 and kinds["gpu_worker"]["min_workers"] == 0
    assert launched(8) == {"cpu_worker": 2}
    assert launched(20) == {"cpu_worker": 3, "gpu_worker": 2}
    assert launched(2, GPU=1) == {"gpu_worker": 2}


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A stand-in for EC2, in which Ray's own role is there already."""
    for name, value in {"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}.items():
        monkeypatch.setenv(name, value)
    # Ray asks for all kinds of machines that there are; telling of hundreds takes seconds.
    monkeypatch.setattr(
        "moto.ec2.models.instance_types.INSTANCE_TYPES",
        {kind: INSTANCE_TYPES[kind] for kind in ("m7i.large", "m7i.xlarge", "g6.xlarge")},
    )
    with mock_aws():
        iam = boto3.client("iam", region_name="us-west-2")
        iam.create_role(RoleName="ray-autoscaler-v1", AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName="ray-autoscaler-v1")
        iam.add_role_to_instance_profile(InstanceProfileName="ray-autoscaler-v1", RoleName="ray-autoscaler-v1")
        yield


@pytest.mark.usefixtures("ec2")
def test_ec2_launches_every_kind_of_machine() -> None:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(read("aws.yaml")))
    validate_config(config)
    config = AWSNodeProvider.bootstrap_config(config)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    lifecycles = {}
    for kind, found in config["available_node_types"].items():
        (machine,) = provider.create_node(found["node_config"], {}, 1).values()
        lifecycles[kind] = machine.instance_lifecycle

    resources = {kind: found["resources"] for kind, found in config["available_node_types"].items()}
    assert resources["head"] == {"CPU": 0}
    assert resources["cpu_worker"]["CPU"] == 4 and "GPU" not in resources["cpu_worker"]
    assert resources["gpu_worker"]["CPU"] == 4 and resources["gpu_worker"]["GPU"] == 1
    assert lifecycles == {"head": None, "cpu_worker": "spot", "gpu_worker": "spot"}


def test_compute_engine_knows_every_field_of_a_machine() -> None:
    from google.cloud.compute_v1 import Instance, Scheduling

    made = {
        kind: Instance.from_json(json.dumps(found["node_config"]))
        for kind, found in read("gcp.yaml")["available_node_types"].items()
    }

    assert hasattr(Scheduling.ProvisioningModel, "SPOT") and hasattr(Scheduling.OnHostMaintenance, "TERMINATE")
    assert {kind: machine.scheduling.provisioning_model for kind, machine in made.items()} == {
        "head": "",
        "cpu_worker": "SPOT",
        "gpu_worker": "SPOT",
    }
    # A machine with a GPU cannot move to another host.
    assert made["gpu_worker"].scheduling.on_host_maintenance == "TERMINATE"
    assert all(machine.disks[0].initialize_params.source_image for machine in made.values())
