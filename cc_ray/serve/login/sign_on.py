"""The addresses of logging in through an OpenID provider."""

from __future__ import annotations

import hmac
import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from cc_ray.serve.login.door import Door
from cc_ray.serve.login.file import NAME
from cc_ray.serve.login.page import login_page
from cc_ray.serve.login.provider import Provider
from cc_ray.serve.login.routes import welcomed, within
from cc_ray.serve.login.seal import Seal
from cc_ray.serve.metrics import Metrics

if TYPE_CHECKING:
    from cc_ray.serve.login.oidc import Flow

_PATH: Final = "/login/oidc"
_BACK: Final = f"{_PATH}/back"
_COOKIE: Final = "cc-ray-oidc"
_LIFETIME_S: Final = 600
"""How long somebody may take at the provider."""
_UNCHECKED: Final = "The provider's answer could not be checked. Try again."
_log: Final = logging.getLogger(__name__)


class SignOn:
    """Sends people to the provider of the login file, and takes them in when they come back.

    Args:
        door: Knows people.
        metrics: Counts failures.
    """

    def __init__(self, door: Door, metrics: Metrics) -> None:
        self._door = door
        self._metrics = metrics
        self._flows: dict[Provider, Flow] = {}

    def add_to(self, app: FastAPI) -> None:
        """Answer below `/login/oidc`."""
        app.add_route(_PATH, self.begin, methods=["GET"])
        app.add_route(_BACK, self.finish, methods=["GET"])

    async def begin(self, request: Request) -> Response:
        """Go to the provider."""
        from cc_ray.serve.login.oidc import ProviderError

        wanted = within(request.query_params.get("next", ""))
        flow = self._flow()
        if flow is None:
            return RedirectResponse("/login", 303)
        try:
            begun = await anyio.to_thread.run_sync(flow.begin, _back(request))
        except ProviderError as error:
            return self._refused(wanted, "unreachable", f"{error}", 502)
        response = RedirectResponse(begun.address, 303, {"Cache-Control": "no-store"})
        response.set_cookie(
            _COOKIE,
            self._seal.closed({**begun.kept, "next": wanted}, _LIFETIME_S),
            max_age=_LIFETIME_S,
            path=_PATH,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="lax",
        )
        return response

    async def finish(self, request: Request) -> Response:
        """Take in somebody who comes back."""
        from cc_ray.serve.login.oidc import ProviderError

        flow, kept = self._flow(), self._seal.opened(request.cookies.get(_COOKIE, ""))
        if flow is None or kept is None:
            return self._refused("/", "stale", "This login took too long or was begun elsewhere. Try again.", 400)
        given = request.query_params
        if not hmac.compare_digest(given.get("state", "").encode(), kept["state"].encode()):
            return self._refused(kept["next"], "state", _UNCHECKED, 400)
        if "code" not in given:
            return self._refused(kept["next"], "refused", "The provider did not let you in.", 401)
        try:
            finish = partial(flow.finish, _back(request), given["code"], kept)
            claims = await anyio.to_thread.run_sync(finish)
        except ProviderError as error:
            _log.warning("a login through %s failed: %s", flow.provider.issuer, error)
            return self._refused(kept["next"], "unchecked", _UNCHECKED, 502)
        return self._taken_in(request, flow.provider, claims, kept["next"])

    def _taken_in(self, request: Request, provider: Provider, claims: dict[str, Any], wanted: str) -> Response:
        name, role = name_of(provider, claims), provider.role(claims)
        if role is None:
            trouble = f"{name} may not enter. Ask whoever runs this dashboard."
            return self._refused(wanted, "not_listed", trouble, 403)
        response = welcomed(request, self._door, self._door.cookie(name, role), wanted)
        response.delete_cookie(_COOKIE, path=_PATH)
        return response

    def _flow(self) -> Flow | None:
        """Of the provider that the login file names now."""
        from cc_ray.serve.login.oidc import Flow

        provider = self._door.known.oidc
        if provider is None:
            return None
        if provider not in self._flows:
            self._flows = {provider: Flow(provider)}
        return self._flows[provider]

    def _refused(self, wanted: str, reason: str, trouble: str, status: int) -> Response:
        self._metrics.login_failures.labels(reason).inc()
        return login_page(self._door.known, wanted, trouble=trouble, status=status)

    @property
    def _seal(self) -> Seal:
        return Seal(self._door.known.key, "oidc")


def name_of(provider: Provider, claims: dict[str, Any]) -> str:
    """What somebody is called here: by their address, else their name there, else what the provider numbers them by."""
    for said in (provider.email(claims), claims.get("preferred_username")):
        if isinstance(said, str) and re.fullmatch(NAME, said):
            return said
    return re.sub(r"[^A-Za-z0-9._@+-]", "_", str(claims["sub"]))[:127]


def _back(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{_BACK}"
