"""The web application of one store or several, as each replica makes it.

Panel is mounted here and nowhere else. What is asked passes, from outside in: the proxies' word, the names it answers
to, what is counted, what browsers are told, limits, the login, the replica, whether the store is open; then pages,
websockets and `/api`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from cc_ray.serve.headers import SecurityHeaders
from cc_ray.serve.health import Health
from cc_ray.serve.login.door import Door
from cc_ray.serve.login.file import LoginFile
from cc_ray.serve.login.gate import Gate
from cc_ray.serve.login.routes import Entrance
from cc_ray.serve.login.sign_on import SignOn
from cc_ray.serve.memory import Memory, settle
from cc_ray.serve.metrics import Measured, Metrics, VersionAge, exposition
from cc_ray.serve.proxies import Proxies
from cc_ray.serve.routing import Bound, replica
from cc_ray.serve.settings import Settings
from cc_ray.serve.sockets import HEADERS, guard
from cc_ray.serve.stores import allowed
from cc_ray.serve.throttle import Throttle

if TYPE_CHECKING:
    from dashboards.stores import Stores


def build_app(root: str, settings: Settings | None = None, key: bytes | None = None) -> FastAPI:
    """Make the web application of a store, in the process that will answer for it.

    Args:
        root: The folder or URL of the store that is shown where none is named.
        settings: How it is served.
        key: Signs the tokens of tabs; the same in all replicas.

    Raises:
        StoreError: If it, or one that the settings name, is not a store.
        CcRayError: If the login file is not right.
    """
    settings = settings or Settings()
    door = Door(LoginFile(settings.login), settings.session_hours) if settings.login else None
    metrics = Metrics(replica())
    app = FastAPI(title="CC-Ray", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.metrics = metrics
    stores = _stores(app, allowed(root, settings.stores), settings.jobs)
    _surround(app, settings, door, metrics)
    app.add_route("/healthz", Health(root).__call__, methods=["GET"])
    app.add_route("/metrics", _metrics, methods=["GET"])
    if door:
        Entrance(door, metrics).add_to(app)
        SignOn(door, metrics).add_to(app)
    _mount(app, stores, key or secrets.token_bytes(32))
    return app


def _stores(app: FastAPI, roots: Mapping[str, str], jobs: str) -> Stores:
    """What may be shown; its stores are opened just before the application is asked for their pages."""
    from cc_ray.comparisons import StoredComparisons
    from cc_ray.operating import operator
    from cc_ray.serve.opening import Opening
    from dashboards.stores import Served, Stores

    stores = Stores({name: Served(root, StoredComparisons(root), operator(root, jobs)) for name, root in roots.items()})
    app.add_middleware(Opening, stores=stores)
    return stores


def _surround(app: FastAPI, settings: Settings, door: Door | None, metrics: Metrics) -> None:
    """Put before the application what every request passes; the last one is the outermost."""
    app.add_middleware(Bound, replica=metrics.replica)
    app.add_middleware(Gate, door=door)
    app.add_middleware(Throttle, metrics=metrics)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Measured, metrics=metrics)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts))
    app.add_middleware(Proxies, trusted=settings.proxies)


def _mount(app: FastAPI, stores: Stores, key: bytes) -> None:
    import panel as pn
    from panel.io.fastapi import add_applications

    from cc_ray.api import build_api
    from cc_ray.serve.lasting import lasting_file
    from dashboards.app import applications
    from dashboards.lasting import PLACE

    apis = {name: build_api(served.root) for name, served in stores.allowed.items()}
    for name, api in apis.items():
        app.mount(f"/api/stores/{name}", api)
    app.mount("/api", apis[stores.first])
    # Before Panel's own: it has all others below /static.
    app.add_route(f"/{PLACE}/{{name}}", lasting_file, methods=["GET"])
    guard()
    add_applications(
        applications(stores),
        app=app,
        location=False,
        secret_key=key,
        sign_sessions=True,
        include_headers=list(HEADERS),
        include_cookies=[],
    )
    pn.state.on_session_destroyed(Memory().tab_ended)
    settle()
    app.state.metrics.version_age.set_function(VersionAge(lambda: stores.open(stores.first).snapshot))


async def _metrics(request: Request) -> Response:
    """The metrics of all replicas, for operators and for programs with a token."""
    identity = request.scope["identity"]
    if not (identity.operator or identity.program):
        return PlainTextResponse("Metrics are for operators, and for programs with a token.\n", 403)
    everywhere = getattr(request.app.state, "everywhere", None)
    found = await everywhere() if everywhere else [request.app.state.metrics.collect()]
    return Response(exposition(found), media_type="text/plain; version=0.0.4; charset=utf-8")
