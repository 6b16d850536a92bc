"""Serves the dashboard from this process, on its Ray or on a small one of its own."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

import ray
from ray import serve

from cc_ray.errors import CcRayError
from cc_ray.operating.local import end_with
from cc_ray.search.cluster import connect
from cc_ray.serve.deployment import NAME, QUIET, application
from cc_ray.serve.login.file import LoginFile
from cc_ray.serve.settings import LOCAL, Settings
from cc_ray.serve.stores import allowed
from cc_ray.store import Store


def serve_store(
    root: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    settings: Settings | None = None,
    replicas: int = 1,
) -> str:
    """Serve the dashboard of one store, on this process's Ray or on a local one of its own, and return at once.

    Args:
        root: The store's folder or URL.
        host: Address to listen on. Without a login whoever reaches it can read the store.
        port: Port to listen on; 0 takes a free one.
        settings: How it is served. By default without a login, answering to this machine's names where it listens to
            this machine, else to any.
        replicas: How many processes share the work.

    Returns:
        The URL of the dashboard, which is ready.

    Raises:
        StoreError: If it, or one that the settings name, is not a store.
        CcRayError: If the port is taken, or the login file is not right.
    """
    settings = settings or Settings(hosts=names_of(host))
    for each in allowed(str(root), settings.stores).values():
        Store(each)
    if settings.login:
        LoginFile(settings.login)
    port = refuse_taken_port(host, port)
    if not ray.is_initialized():
        # Ray's workers give way to all other processes; somebody waits for what these answer.
        os.environ.setdefault("RAY_worker_niceness", "0")
        connect()
    # Serve tells the terminal of every step of its own.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(http_options={"host": host, "port": port}, logging_config=QUIET)
    serve.run(application(root, settings, replicas), name=NAME, route_prefix="/")
    return f"http://{host}:{port}/"


def names_of(host: str) -> tuple[str, ...]:
    """Names to answer to, where somebody listens there and names none."""
    return LOCAL if host in LOCAL else ("*",)


def stay() -> None:
    """Keep serving until Ctrl-C or SIGTERM, then end."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with suppress(KeyboardInterrupt):
        ended.wait()
    end_with(ray.get_runtime_context().gcs_address)
    # Not `serve.shutdown()`: on a cluster of our own it is shut down too, and complains while it ends.
    serve.delete(NAME)
    ray.shutdown()


def refuse_taken_port(host: str, port: int) -> int:
    """Make sure that one can listen there.

    Returns:
        The port; a free one for 0.

    Raises:
        CcRayError: If the port is taken or the address is not this machine's.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CcRayError(
                f"cannot listen on {host}:{port}: {error.strerror}. Name another port with --port, or 0 for a free one."
            ) from error
        return int(probe.getsockname()[1])
