import copy
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]
from lightkube.models.core_v1 import PersistentVolumeClaim
from ray.serve.schema import ServeDeploySchema

from tests.cluster.files import read
from tests.cluster.kuberay import ClusterSpec, RayCluster, RayJob, RayService, parse

RESOURCES = ["raycluster.yaml", "rayjob.yaml", "rayservice.yaml"]


def cluster_of(name: str) -> ClusterSpec:
    made = parse(read(name))
    if isinstance(made, RayJob):
        assert made.spec.rayClusterSpec
        return made.spec.rayClusterSpec
    assert isinstance(made, RayCluster | RayService)
    return made.spec if isinstance(made, RayCluster) else made.spec.rayClusterConfig


@pytest.mark.parametrize("name", [*RESOURCES, "store_claim.yaml"])
def test_a_resource_is_as_its_schema_has_it(name: str) -> None:
    parse(read(name))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["spec", "enableAutoscaling"], True),
        (["spec", "authOptions", "mode"], "password"),
        (["spec", "rayVersion"], "2.46.0"),
        (["spec", "headGroupSpec", "rayStartParams", "num-cpus"], 0),
        (["spec", "headGroupSpec", "template", "spec", "container"], []),
        (["spec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "resources", "limit"], {}),
        (["spec", "workerGroupSpecs", 0, "maxReplicas"], 0),
        (["metadata", "name"], "CC_Ray"),
    ],
)
def test_a_mistake_is_found(path: list[Any], value: Any) -> None:
    wrong = copy.deepcopy(read("raycluster.yaml"))
    within = wrong
    for part in path[:-1]:
        within = within[part]
    within[path[-1]] = value

    with pytest.raises(msgspec.ValidationError):
        parse(wrong)


@pytest.mark.parametrize("name", RESOURCES)
def test_every_pod_mounts_the_store_and_is_bounded(name: str) -> None:
    claim = parse(read("store_claim.yaml"))
    assert isinstance(claim, PersistentVolumeClaim) and claim.spec and claim.metadata
    assert claim.spec.accessModes == ["ReadWriteMany"]
    cluster = cluster_of(name)
    assert cluster.authOptions and cluster.authOptions.mode == "token"

    for group in (cluster.headGroupSpec, *cluster.workerGroupSpecs):
        pod = group.template.spec
        assert pod and pod.volumes
        assert [volume.persistentVolumeClaim.claimName for volume in pod.volumes if volume.persistentVolumeClaim] == [
            claim.metadata.name
        ]
        container = pod.containers[0]
        assert container.resources and container.resources.limits == container.resources.requests
        assert {"cpu", "memory"} <= set(container.resources.limits or {})
        assert [mount.mountPath for mount in container.volumeMounts or []] == ["/mnt/cc-ray"]
        assert ("CC_RAY_STORE", "/mnt/cc-ray/store") in [(env.name, env.value) for env in container.env or []]


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_workers_of_one_machine_cannot_disturb_each_others_latencies(name: str) -> None:
    for group in cluster_of(name).workerGroupSpecs:
        assert group.template.spec and group.template.spec.affinity and group.template.spec.affinity.podAntiAffinity
        rules = group.template.spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution or []
        assert [rule.topologyKey for rule in rules] == ["kubernetes.io/hostname"]


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_a_study_finds_cpus_when_it_begins(name: str) -> None:
    cluster = cluster_of(name)

    assert cluster.headGroupSpec.rayStartParams["num-cpus"] == "0"
    assert sum(group.minReplicas for group in cluster.workerGroupSpecs) >= 1


def test_the_service_serves_what_serve_yaml_does() -> None:
    made = parse(read("rayservice.yaml"))
    assert isinstance(made, RayService) and made.spec.rayClusterConfig.headGroupSpec.template.spec
    config = ServeDeploySchema.model_validate(yaml.safe_load(made.spec.serveConfigV2))
    ports = made.spec.rayClusterConfig.headGroupSpec.template.spec.containers[0].ports or []

    assert config.applications == ServeDeploySchema.model_validate(read("serve.yaml")).applications
    assert config.http_options.port in [port.containerPort for port in ports if port.name == "serve"]


def test_the_service_starts_studies_on_the_cluster_that_stays() -> None:
    made, cluster = parse(read("rayservice.yaml")), read("raycluster.yaml")["metadata"]["name"]
    assert isinstance(made, RayService) and made.spec.rayClusterConfig.headGroupSpec.template.spec
    given = {env.name: env for env in made.spec.rayClusterConfig.headGroupSpec.template.spec.containers[0].env or []}

    assert given["RAY_API_SERVER_ADDRESS"].value == f"http://{cluster}-head-svc:8265"
    token = given["CC_RAY_JOBS_TOKEN"].valueFrom
    assert token and token.secretKeyRef and (token.secretKeyRef.name, token.secretKeyRef.key) == (cluster, "auth_token")


def test_a_job_is_a_command_that_exists_and_may_run_again() -> None:
    job = parse(read("rayjob.yaml"))
    assert isinstance(job, RayJob)

    assert job.spec.entrypoint.startswith("cc-ray run ")
    assert job.spec.jobId is None and job.spec.shutdownAfterJobFinishes
