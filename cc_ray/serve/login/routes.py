"""The addresses of logging in and out."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from cc_ray.serve.login.door import Door, TooManyTries, cookie_name
from cc_ray.serve.login.page import login_page
from cc_ray.serve.metrics import Metrics

_LONGEST_FORM: Final = 8192
"""Bytes."""
_FORM: Final = "application/x-www-form-urlencoded"


class Entrance:
    """Logs people in and out.

    Args:
        door: Knows them.
        metrics: Counts failures.
    """

    def __init__(self, door: Door, metrics: Metrics) -> None:
        self._door = door
        self._metrics = metrics

    def add_to(self, app: FastAPI) -> None:
        """Answer below `/login` and at `/logout`."""
        app.add_route("/login", self.show, methods=["GET"])
        app.add_route("/login", self.enter, methods=["POST"])
        app.add_route("/logout", self.leave, methods=["POST"])

    async def show(self, request: Request) -> Response:
        """The login page; somebody who is logged in goes on."""
        wanted = within(request.query_params.get("next", ""))
        if request.scope["identity"]:
            return RedirectResponse(wanted, 303, {"Cache-Control": "no-store"})
        note = "You are signed out." if "out" in request.query_params else ""
        return login_page(self._door.known, wanted, note=note)

    async def enter(self, request: Request) -> Response:
        """Log somebody in who gives a name and a password."""
        if foreign(request):
            return _foreign()
        form = await _form(request)
        name, password, wanted = form.get("name", ""), form.get("password", ""), within(form.get("next", ""))
        try:
            right = await self._door.enter(name, password, request.scope["client"][0])
        except TooManyTries as error:
            self._metrics.login_failures.labels("too_many").inc()
            trouble = f"There were too many tries. Wait {error.wait_s} seconds and try again."
            page = login_page(self._door.known, wanted, trouble=trouble, name=name, status=429)
            page.headers["Retry-After"] = str(error.wait_s)
            return page
        if not right:
            self._metrics.login_failures.labels("wrong").inc()
            trouble = "Name or password is wrong."
            return login_page(self._door.known, wanted, trouble=trouble, name=name, status=401)
        return welcomed(request, self._door, self._door.cookie(name), wanted)

    async def leave(self, request: Request) -> Response:
        """Log somebody out."""
        if foreign(request):
            return _foreign()
        name = cookie_name(request.scope)
        self._door.end(request.cookies.get(name, ""))
        response = RedirectResponse("/login?out=1", 303, {"Cache-Control": "no-store"})
        response.delete_cookie(name, secure=_is_secure(request), httponly=True, samesite="lax")
        return response


def welcomed(request: Request, door: Door, cookie: str, wanted: str) -> Response:
    """Go on as somebody who is logged in."""
    response = RedirectResponse(wanted, 303, {"Cache-Control": "no-store"})
    response.set_cookie(
        cookie_name(request.scope),
        cookie,
        max_age=int(door.lifetime_s),
        secure=_is_secure(request),
        httponly=True,
        samesite="lax",
    )
    return response


def within(address: str) -> str:
    """An address within the dashboard: what leads anywhere else becomes its first page."""
    parts = urlsplit(address) if address.isprintable() and "\\" not in address else None
    if parts is None or parts.scheme or parts.netloc or not address.startswith("/") or address.startswith("//"):
        return "/"
    return address


def foreign(request: Request) -> bool:
    """Whether a page of another origin sends this form: browsers tell the origin of every form."""
    origin = request.headers.get("origin")
    if origin is not None:
        return urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()
    return request.headers.get("sec-fetch-site") != "same-origin"


async def _form(request: Request) -> dict[str, str]:
    """The fields of a short form; none of one that is long or something else."""
    body = b""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return {}
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            return {}
    fields = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in fields.items()}


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _foreign() -> Response:
    return PlainTextResponse("This form comes from another page. Open the dashboard and log in there.\n", 403)
