"""The Ray Serve application: the dashboard over one store, the API (`/api`), and whether it is well (`/healthz`).

Panel is mounted here and nowhere else. Its carrier, bokeh_fastapi, neither compares a websocket's origin with the host
it was asked for nor lets go of closed sessions; `_guard` adds both.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import ray
from fastapi import FastAPI
from pydantic import BaseModel, Field
from ray import serve
from starlette.middleware.trustedhost import TrustedHostMiddleware

from cc_ray.errors import CcRayError
from cc_ray.search.cluster import connect
from cc_ray.store import Store
from cc_ray.store.address import url_of, whole

NAME: Final = "cc-ray"
"""Name of the application within Ray Serve."""

LOCAL: Final = ("127.0.0.1", "localhost")
"""What this machine calls itself. Served to it alone, no other name is answered: a foreign page could otherwise reach
the dashboard under a name of its own that leads here."""
Connect = Callable[[Any, Any], Awaitable[None]]

MAX_TABS: Final = 1000
"""Each open tab holds one request of its replica for as long as it is open."""


_QUIET: Final = {"log_level": "WARNING", "enable_access_log": False}


def application(root: Path | str, hosts: Sequence[str] = ("*",)) -> serve.Application:
    """Make the Serve application that shows one store.

    Args:
        root: The store's folder, as every node sees it, or its URL.
        hosts: Names that it answers to, without ports; "*" for any.
    """
    path = whole(root)

    def build() -> FastAPI:
        return build_app(path, hosts)

    class Dashboard:
        """Carries the FastAPI application, which is made in the replica."""

    deployment = serve.deployment(
        serve.ingress(build)(Dashboard),
        name="dashboard",
        logging_config=_QUIET,
        max_ongoing_requests=MAX_TABS,
        ray_actor_options={"num_cpus": 0},
        # Open tabs never end by themselves: waiting for them would only delay the end.
        graceful_shutdown_timeout_s=1,
        graceful_shutdown_wait_loop_s=0.2,
    )
    return deployment.bind()


class Arguments(BaseModel, extra="forbid"):
    """What a Serve config says under `args` of an application."""

    store: str = Field(default_factory=lambda: os.environ.get("CC_RAY_STORE", ""))
    """The store's folder, as every node sees it, or its URL; `CC_RAY_STORE` of the cluster where it is left out."""
    hosts: list[str] = list(LOCAL)
    """Names that it answers to, without ports; "*" for any."""


def configured(arguments: dict[str, Any]) -> serve.Application:
    """Make the application of a Serve config, such as `cluster/serve.yaml`: `import_path: cc_ray.serve:configured`.

    Args:
        arguments: See `Arguments`.

    Raises:
        CcRayError: If no store is named, or not by its whole path.
        StoreError: If it is not a store.
    """
    given = Arguments.model_validate(arguments)
    if not (url_of(given.store) or Path(given.store).is_absolute()):
        # Serve builds applications in a folder of its own.
        raise CcRayError(
            f"the store '{given.store}' is not a whole path. Set `store` under `args`, or CC_RAY_STORE, to one."
        )
    return application(Store(given.store).root, given.hosts)


def build_app(root: str, hosts: Sequence[str] = ("*",)) -> FastAPI:
    """Make the web application of one store, in the process that will answer for it.

    Args:
        root: The store's folder or URL.
        hosts: Names that it answers to, without ports; "*" for any.

    Raises:
        StoreError: If it is not a store.
    """
    from panel.io.fastapi import add_applications

    from cc_ray.api import build_api
    from dashboards.app import applications

    app = FastAPI(title="CC-Ray", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    app.mount("/api", build_api(root))
    _guard()
    key = secrets.token_bytes(32)
    add_applications(applications(root), app=app, location=False, secret_key=key, sign_sessions=True)
    return app


def serve_store(root: Path | str, *, host: str = "127.0.0.1", port: int = 8765) -> str:
    """Serve the dashboard of one store, on this process's Ray or on a local one of its own, and return at once.

    Args:
        root: The store's folder or URL.
        host: Address to listen on. Whoever reaches it can read the store: there is no login.
        port: Port to listen on; 0 takes a free one.

    Returns:
        The URL of the dashboard, which is ready.

    Raises:
        StoreError: If it is not a store.
        CcRayError: If the port is taken.
    """
    Store(root)
    port = refuse_taken_port(host, port)
    if not ray.is_initialized():
        connect()
    # Serve tells the terminal of every step of its own.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(http_options={"host": host, "port": port}, logging_config=_QUIET)
    hosts = LOCAL if host in LOCAL else ("*",)
    serve.run(application(root, hosts), name=NAME, route_prefix="/")
    return f"http://{host}:{port}/"


def stay() -> None:
    """Keep serving until Ctrl-C or SIGTERM, then end."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with suppress(KeyboardInterrupt):
        ended.wait()
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


def _guard() -> None:
    from bokeh_fastapi.handler import WSHandler

    if not hasattr(WSHandler.ws_connect, "__wrapped__"):
        WSHandler.ws_connect = guarded(WSHandler.ws_connect)


def guarded(connect: Connect) -> Connect:
    """Give bokeh_fastapi's way of serving a websocket what it lacks.

    Args:
        connect: `WSHandler.ws_connect`: serves a websocket until it closes.

    Returns:
        The same, which closes a websocket whose origin is not the host it was asked for, unaccepted, with code 1008,
        and tells the application of every lost connection.
    """

    @wraps(connect)
    async def ws_connect(self: Any, websocket: Any) -> None:
        origin = websocket.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != websocket.headers.get("host", "").lower():
            await websocket.close(code=1008, reason="foreign origin")
            return
        try:
            await connect(self, websocket)
        finally:
            if self.connection is not None:
                self.application.client_lost(self.connection)

    return ws_connect
