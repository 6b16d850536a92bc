"""The dashboard as a Ray Serve application."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from prometheus_client import Metric
from ray import serve
from ray.serve.config import RequestRouterConfig

from cc_ray.serve.login.file import LoginFile
from cc_ray.serve.routing import ROUTER
from cc_ray.serve.settings import Arguments, Settings
from cc_ray.serve.stores import allowed
from cc_ray.serve.web import build_app
from cc_ray.store import Store
from cc_ray.store.address import whole

NAME: Final = "cc-ray"
"""Name of the application within Ray Serve."""
DEPLOYMENT: Final = "dashboard"

MAX_TABS: Final = 1000
"""Each open tab holds one request of its replica for as long as it is open."""
UPGRADE_S: Final = 15.0
"""How long the replicas of a cluster go on answering what they were asked, once others have taken their place."""
QUIET: Final = {"log_level": "WARNING", "enable_access_log": False}


def application(
    root: Path | str, settings: Settings | None = None, replicas: int = 1, grace_s: float = 1.0
) -> serve.Application:
    """Make the Serve application that shows a store, and others if the settings name any.

    Args:
        root: The store's folder, as every node sees it, or its URL.
        settings: How it is served.
        replicas: How many processes share the work.
        grace_s: How long a replica that is to end goes on, while anybody has a tab of it open or waits for an answer.
    """
    path = whole(root)
    key = secrets.token_bytes(32)
    built: list[FastAPI] = []

    def build() -> FastAPI:
        app = build_app(path, settings, key)
        app.state.everywhere = everywhere
        built.append(app)
        return app

    async def everywhere() -> list[list[Metric]]:
        handle = serve.get_deployment_handle(DEPLOYMENT, NAME)
        found: list[list[Metric]] = await handle.broadcast("collected").results_async()
        return found

    class Dashboard:
        """Carries the FastAPI application, which is made in the replica."""

        async def check_health(self) -> None:
            """Ends as soon as the event loop has time for it: Serve begins a replica anew that never does."""

        async def collected(self) -> list[Metric]:
            """The metrics of this replica."""
            collected: list[Metric] = built[0].state.metrics.collect()
            return collected

    deployment = serve.deployment(
        serve.ingress(build)(Dashboard),
        name=DEPLOYMENT,
        num_replicas=replicas,
        logging_config=QUIET,
        max_ongoing_requests=MAX_TABS,
        ray_actor_options={"num_cpus": 0},
        request_router_config=RequestRouterConfig(request_router_class=ROUTER),
        health_check_period_s=5,
        # Serve lets three of them fail in a row.
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=grace_s,
        graceful_shutdown_wait_loop_s=0.2,
    )
    return deployment.bind()


def configured(arguments: dict[str, Any]) -> serve.Application:
    """Make the application of a Serve config, such as `cluster/serve.yaml`: `import_path: cc_ray.serve:configured`.

    Args:
        arguments: See `Arguments`.

    Raises:
        CcRayError: If no store is named, or not by its whole path, or if the login file is not right.
        StoreError: If it is not a store.
    """
    given = Arguments.model_validate(arguments).checked()
    if given.login:
        LoginFile(given.login)
    settings = Settings.model_validate(given.model_dump(include=set(Settings.model_fields)))
    for root in allowed(given.store, given.stores).values():
        Store(root)
    return application(given.store, settings, given.replicas, UPGRADE_S)
