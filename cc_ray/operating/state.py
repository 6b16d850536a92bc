"""What the cluster of this process has and does, as Ray tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import ray
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.exceptions import RayError

from cc_ray.search.work import NAMESPACE, actor_name
from cc_ray.wording import format_value
from dashboards.operating import Cluster, Node, Running, Waiting

_ANSWER_S: Final = 5.0
_INTERNAL: Final = ("node:", "object_store_memory", "accelerator_type:", "bundle_group")
"""Resources of which people need not know."""


def cluster(root: str) -> Cluster:
    """The cluster as it is now, with what a study of a store does on it.

    Args:
        root: The store's folder or URL.
    """
    try:
        status = get_cluster_status(ray.get_runtime_context().gcs_address)
        nodes = [_node(node) for node in (*status.active_nodes, *status.idle_nodes)]
        waiting = _waiting(status.resource_demands.ray_task_actor_demand)
        names = {node["NodeID"]: str(node["NodeManagerHostname"]) for node in ray.nodes()}
        return Cluster(tuple(sorted(nodes, key=lambda node: node.name)), waiting, _running(root, names))
    except (RayError, RuntimeError, OSError) as error:
        return Cluster(problem=f"Ray does not tell: {' '.join(str(error).split())}")


def _node(node: Any) -> Node:
    shown = [usage for usage in node.resource_usage.usage if not usage.resource_name.startswith(_INTERNAL)]
    return Node(
        name=str(node.ip_address),
        state=str(node.node_status).lower(),
        used={usage.resource_name: float(usage.used) for usage in shown},
        total={usage.resource_name: float(usage.total) for usage in shown},
    )


def _waiting(demands: Iterable[Any]) -> tuple[Waiting, ...]:
    counts: Counter[str] = Counter()
    for demand in demands:
        for bundle in demand.bundles_by_count:
            if asks := _asks(bundle.bundle):
                counts[asks] += bundle.count
    return tuple(Waiting(asks, count) for asks, count in sorted(counts.items()))


def _asks(bundle: Mapping[str, float]) -> str:
    """In words; empty for what asks for nothing that could be scarce."""
    shown = {name: amount for name, amount in bundle.items() if amount and not name.startswith(_INTERNAL)}
    return ", ".join(
        f"{format_value(amount, 'bytes')} of memory" if name == "memory" else f"{amount:g} {name}"
        for name, amount in shown.items()
    )


def _running(root: str, names: Mapping[str, str]) -> tuple[Running, ...] | None:
    try:
        actor = ray.get_actor(actor_name(root), NAMESPACE)
    except ValueError:  # No study of this store runs here.
        return None
    found = ray.get(actor.running.remote(), timeout=_ANSWER_S)
    works = [Running(work.kind, work.name, names.get(work.node_id, ""), work.running_s) for work in found]
    return tuple(sorted(works, key=lambda work: -work.running_s))
