"""A Ray cluster to work on: the one this process is connected to, one at an address, or a small one of our own."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import ray

from cc_ray.errors import CcRayError

_ANSWER_S: Final = 5.0
"""How long the head of a cluster may take to accept a connection."""
_WATCH_S: Final = 2.0
"""Time between two looks at the head."""
_RECONNECT: Final = "RAY_gcs_rpc_server_reconnect_timeout_s"
_RECONNECT_S: Final = 60.0
"""Ray's own patience with a head that does not answer, by default; it then ends this process."""
_BEFORE_RAY_S: Final = 10.0
"""How much earlier this process ends by itself."""
_STORE_BYTES: Final = 128 * 2**20
"""Object store of our own cluster: only small messages pass through it, models go by way of the store folder."""
_ours: Final[set[str]] = set()
"""Addresses of the clusters that this process started."""


@contextmanager
def connected(address: str | None = None) -> Iterator[Mapping[str, float]]:
    """Be connected to a cluster; what is started or connected here is ended here.

    Args:
        address: Of a cluster. Without one: `RAY_ADDRESS`, as it stands inside a Ray job, else a cluster of our own on
            this machine. Not used where this process is connected already.

    Yields:
        What the cluster has now, by resource.

    Raises:
        CcRayError: If the cluster cannot be reached.
    """
    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    connect(address)
    try:
        with _watched():
            yield ray.cluster_resources()
    finally:
        ray.shutdown()


def cpus() -> int:
    """CPUs that the cluster has now."""
    return int(ray.cluster_resources().get("CPU", 0.0))


def is_our_own() -> bool:
    """Whether the cluster is one that `connect` started, which stays as it is."""
    return ray.get_runtime_context().gcs_address in _ours


def nodes() -> list[Mapping[str, float]]:
    """What each node of the cluster has, by resource."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


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
    if address == "local":
        _ours.add(ray.get_runtime_context().gcs_address)


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


@contextmanager
def _watched() -> Iterator[None]:
    """End this process with a word of what to do where the head of the cluster is lost.

    Calls of Ray wait for the head and cannot be interrupted; Ray itself ends the process at last, without such a word.
    """
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(host.strip("[]"), int(port), over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()


def _watch(host: str, port: int, over: threading.Event) -> None:
    patience_s = float(os.environ.get(_RECONNECT, _RECONNECT_S)) - _BEFORE_RAY_S
    seen = time.monotonic()
    while not over.wait(_WATCH_S):
        # A machine that is gone says nothing, one whose Ray has ended refuses.
        with suppress(OSError), socket.create_connection((host, port), timeout=_ANSWER_S):
            seen = time.monotonic()
        if time.monotonic() - seen > patience_s and not over.is_set():
            lost = f"error: the head of the Ray cluster at '{host}:{port}' has not answered for {patience_s:g} s. "
            told = "What is in the store stays: start the cluster again and run the same command, which goes on.\n"
            os.write(2, (lost + told).encode())
            os._exit(2)


def _keep_to_ourselves() -> None:
    """Let nobody else use our cluster, and tell nobody of it.

    Ray listens on every network interface and asks for a token. Where it finds none it writes one to the home folder,
    readable by all; this one only our processes know. What a user has set stays.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
