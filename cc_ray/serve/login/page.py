"""The login page."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import urlencode

from starlette.responses import HTMLResponse

import dashboards
from cc_ray.serve.login.file import Known

_HERE: Final = Path(__file__).parent
_THEME: Final = Path(dashboards.__file__).parent / "assets" / "theme.css"
_FIELDS: Final = """
  <label>Name
    <input name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="127"
      value="{name}"{first}></label>
  <label>Password
    <input name="password" type="password" autocomplete="current-password" required maxlength="1024"{second}></label>
  <button type="submit">Sign in</button>
"""


def login_page(
    known: Known, wanted: str, *, trouble: str = "", note: str = "", name: str = "", status: int = 200
) -> HTMLResponse:
    """The page with the ways to log in that a login file has.

    Args:
        known: The login file.
        wanted: Address within the dashboard to go to afterwards.
        trouble: Why the last try failed.
        note: Something to know.
        name: What was given as name.
        status: HTTP status.
    """
    people = any(person.password for person in known.users.values())
    message = f'<p class="failure" id="trouble" role="alert">{escape(trouble)}</p>' if trouble else ""
    message += f'<p class="note" role="status">{escape(note)}</p>' if note else ""
    page = _template().substitute(
        style=_style(),
        message=message,
        next=escape(wanted),
        fields=_fields(name, told=bool(trouble)) if people else "",
        provider=_provider(known, wanted, alone=not people),
    )
    return HTMLResponse(page, status, {"Content-Security-Policy": _policy(), "Cache-Control": "no-store"})


def _fields(name: str, *, told: bool) -> str:
    """The form's fields; the first one to fill in has the focus."""
    invalid = ' aria-invalid="true" aria-describedby="trouble"' if told else ""
    first, second = (invalid, invalid + " autofocus") if name else (invalid + " autofocus", invalid)
    return _FIELDS.format(name=escape(name), first=first, second=second)


def _provider(known: Known, wanted: str, *, alone: bool) -> str:
    if known.oidc is None:
        return ""
    address = escape(f"/login/oidc?{urlencode({'next': wanted})}")
    link = f'<a class="provider" href="{address}">Continue with {escape(known.oidc.title)}</a>'
    return link if alone else f'<p class="or">or</p>{link}'


@cache
def _template() -> Template:
    return Template((_HERE / "page.html").read_text())


@cache
def _style() -> str:
    return _THEME.read_text() + (_HERE / "page.css").read_text()


@cache
def _policy() -> str:
    """Nothing runs on the login page, and nothing is loaded."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
