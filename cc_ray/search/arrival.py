"""Nodes that are not there yet: where none has what a step asks for, an autoscaler may bring one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Final

import ray
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.experimental.internal_kv import _internal_kv_get

from cc_ray.errors import CcRayError
from cc_ray.search.cluster import is_our_own, nodes
from cc_ray.search.needs import Needs, options, without_node

_PATIENCE_S: Final = 20.0
"""Time for an autoscaler to begin to bring a node; it looks every five seconds."""
_TICK_S: Final = 0.5
_STATUS: Final = "__autoscaling_status"
"""Where Ray's first autoscaler tells what it does; the second one answers questions."""


def await_nodes(needs: Needs, tick: Callable[[str], bool]) -> None:
    """Make sure that each step finds a node, now or when an autoscaler has brought it.

    Args:
        needs: What the steps ask for.
        tick: Called about twice a second with what is waited for, if anything is; False ends the waiting.

    Raises:
        CcRayError: If no node has what a step asks for, and none is coming.
    """
    lacking = without_node(needs, nodes())
    if not lacking:
        return
    # An autoscaler looks at tasks that find no node.
    waiting = [] if is_our_own() else [_wait_for_node.options(**options(asked)).remote() for asked in lacking.values()]
    try:
        until = time.monotonic() + _PATIENCE_S * bool(waiting)
        while lacking:
            name, asked = next(iter(lacking.items()))
            if waiting and _brings_nodes():
                until = time.monotonic() + _PATIENCE_S
            if time.monotonic() >= until:
                raise CcRayError(
                    f"'{name}' asks for {asked}, which no node of the cluster has and no autoscaler brings: add one, "
                    "or let it ask for less by `resources` of the search space, the operation or the task."
                )
            if not tick(f"no node has {asked} yet"):
                return
            time.sleep(_TICK_S)
            lacking = without_node(needs, nodes())
    finally:
        for task in waiting:
            ray.cancel(task)


def _brings_nodes() -> bool:
    told = json.loads(_internal_kv_get(_STATUS) or "{}").get("autoscaler_report") or {}
    status = get_cluster_status(ray.get_runtime_context().gcs_address)
    first = told.get("pending_nodes") or told.get("pending_launches")
    return bool(first or status.pending_nodes or status.pending_launches)


def _nothing() -> None:
    pass


_wait_for_node = ray.remote(max_retries=0)(_nothing)
