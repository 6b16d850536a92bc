"""The resources of KubeRay, as far as one writes them: the fields of its custom resources from version 1.5.1 on.

KubeRay's own schema repeats that of pods several times over and fills 900 kB; no package carries it. Its fields, types
and conditions stand here as its reference (`docs/reference/api.md`) and its operator's checks have them; pods, services
and claims are those of Kubernetes' own description, by lightkube.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec
from lightkube.models.core_v1 import (
    EnvVar,
    PersistentVolumeClaim,
    PodTemplateSpec,
    ResourceRequirements,
    SecurityContext,
    Service,
    VolumeMount,
)
from lightkube.models.meta_v1 import ObjectMeta

NAME = re.compile(r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?")
"""A label of DNS, of at most 47 characters: KubeRay makes names of services of it."""


class Fields(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Part of a resource."""


class AuthOptions(Fields):
    mode: Literal["disabled", "token"]


class AutoscalerOptions(Fields):
    resources: ResourceRequirements | None = None
    image: str | None = None
    imagePullPolicy: str | None = None
    securityContext: SecurityContext | None = None
    env: list[EnvVar] | None = None
    volumeMounts: list[VolumeMount] | None = None
    idleTimeoutSeconds: int | None = None
    upscalingMode: Literal["Default", "Aggressive", "Conservative"] | None = None
    version: Literal["v1", "v2"] | None = None


class Group(Fields, kw_only=True):
    rayStartParams: dict[str, str]
    template: PodTemplateSpec


class HeadGroup(Group, kw_only=True):
    serviceType: str | None = None
    headService: Service | None = None
    enableIngress: bool | None = None


class WorkerGroup(Group, kw_only=True):
    groupName: str
    minReplicas: int
    maxReplicas: int
    replicas: int | None = None
    numOfHosts: int | None = None
    idleTimeoutSeconds: int | None = None


class ClusterSpec(Fields, kw_only=True):
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup] = []
    rayVersion: str | None = None
    authOptions: AuthOptions | None = None
    enableInTreeAutoscaling: bool | None = None
    autoscalerOptions: AutoscalerOptions | None = None
    headServiceAnnotations: dict[str, str] | None = None
    suspend: bool | None = None

    def __post_init__(self) -> None:
        groups = [group.groupName for group in self.workerGroupSpecs]
        _refuse(len(groups) != len(set(groups)), "two worker groups have one name")
        for group in self.workerGroupSpecs:
            _refuse(
                not group.minReplicas <= (group.replicas or 0) <= group.maxReplicas, f"replicas of {group.groupName}"
            )
        version = [int(number) for number in (self.rayVersion or "0.0").split(".")]
        _refuse(self.authOptions is not None and version < [2, 52], "a token needs rayVersion 2.52 or newer")


class SubmitterConfig(Fields):
    backoffLimit: int | None = None


class JobSpec(Fields):
    entrypoint: str
    rayClusterSpec: ClusterSpec | None = None
    clusterSelector: dict[str, str] | None = None
    runtimeEnvYAML: str | None = None
    jobId: str | None = None
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"] | None = None
    submitterPodTemplate: PodTemplateSpec | None = None
    submitterConfig: SubmitterConfig | None = None
    entrypointNumCpus: float | None = None
    entrypointNumGpus: float | None = None
    entrypointResources: str | None = None
    metadata: dict[str, str] | None = None
    activeDeadlineSeconds: int | None = None
    backoffLimit: int | None = None
    shutdownAfterJobFinishes: bool | None = None
    ttlSecondsAfterFinished: int | None = None
    suspend: bool | None = None

    def __post_init__(self) -> None:
        _refuse(
            (self.rayClusterSpec is None) == (self.clusterSelector is None), "one cluster is to be named or described"
        )
        _refuse(
            bool(self.ttlSecondsAfterFinished) and not self.shutdownAfterJobFinishes, "nothing ends after that time"
        )


class ServiceSpec(Fields):
    serveConfigV2: str
    rayClusterConfig: ClusterSpec
    serveService: Service | None = None
    excludeHeadPodFromServeSvc: bool | None = None


class Resource(Fields, tag_field="kind", kw_only=True):
    apiVersion: Literal["ray.io/v1"]
    metadata: ObjectMeta

    def __post_init__(self) -> None:
        _refuse(not NAME.fullmatch(self.metadata.name or ""), f"the name {self.metadata.name}")


class RayCluster(Resource, tag="RayCluster", kw_only=True):
    spec: ClusterSpec


class RayJob(Resource, tag="RayJob", kw_only=True):
    spec: JobSpec


class RayService(Resource, tag="RayService", kw_only=True):
    spec: ServiceSpec


def parse(document: Any) -> RayCluster | RayJob | RayService | PersistentVolumeClaim:
    """Read one resource.

    Raises:
        msgspec.ValidationError: If it lacks a field, or has one of a wrong type or of no meaning.
    """
    wanted: Any = PersistentVolumeClaim if document["apiVersion"] == "v1" else RayCluster | RayJob | RayService
    made: RayCluster | RayJob | RayService | PersistentVolumeClaim = msgspec.convert(document, wanted)
    # lightkube passes over what it does not know; written again, that is missing.
    _refuse(msgspec.to_builtins(made) != document, f"unknown fields: kept is {msgspec.to_builtins(made)}")
    return made


def _refuse(wrong: bool, why: str) -> None:
    if wrong:
        raise msgspec.ValidationError(why)
