"""A Ray cluster to work on: the one this process is connected to, one at an address, or a small one of our own."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import ray

from cc_ray.errors import CcRayError

_ANSWER_S: Final = 5.0
"""How long the head of a cluster may take to accept a connection."""
_STORE_BYTES: Final = 128 * 2**20
"""Object store of our own cluster: only small messages pass through it, models go by way of the store folder."""


@contextmanager
def connected(address: str | None = None) -> Iterator[Mapping[str, float]]:
    """Be connected to a cluster; what is started or connected here is ended here.

    Args:
        address: Of a cluster. Without one: `RAY_ADDRESS`, as it stands inside a Ray job, else a cluster of our own on
            this machine. Not used where this process is connected already.

    Yields:
        What the cluster has, by resource.

    Raises:
        CcRayError: If the cluster cannot be reached or has no CPU for steps.
    """
    if ray.is_initialized():
        yield _checked(ray.cluster_resources())
        return
    connect(address)
    try:
        yield _checked(ray.cluster_resources())
    finally:
        ray.shutdown()


def connect(address: str | None = None) -> None:
    """Connect this process to a cluster, as `connected` does, until `ray.shutdown()`.

    Raises:
        CcRayError: If the cluster cannot be reached.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    own = {"include_dashboard": False, "object_store_memory": _STORE_BYTES} if address == "local" else {}
    if address == "local":
        _keep_to_ourselves()
    _refuse_silent(address)
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise CcRayError(f"no Ray cluster at '{address}': {' '.join(str(error).split())}") from error


def _refuse_silent(address: str) -> None:
    """Say at once that nobody listens at HOST:PORT; Ray itself waits for a minute and a half."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal()) or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        raise CcRayError(
            f"no Ray cluster at '{address}': {error.strerror or error}. Name the one that `ray start --head` printed."
        ) from error


def _keep_to_ourselves() -> None:
    """Let nobody else use our cluster, and tell nobody of it.

    Ray listens on every network interface and asks for a token. Where it finds none it writes one to the home folder,
    readable by all; this one only our processes know. What a user has set stays.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _checked(resources: Mapping[str, float]) -> Mapping[str, float]:
    if resources.get("CPU", 0.0) < 1.0:
        raise CcRayError(f"a step needs 1 CPU; the cluster has {resources.get('CPU', 0.0):g}. Add a node with CPUs.")
    return resources
