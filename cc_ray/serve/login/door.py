"""Knows people by their cookie, and programs by what they send along."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Iterator
from math import ceil
from typing import Any, Final, TypeVar

import anyio
from anyio import CapacityLimiter
from starlette.datastructures import Headers
from starlette.types import Scope

from cc_ray.errors import CcRayError
from cc_ray.serve.limits import Backoff, Recent, network
from cc_ray.serve.login import passwords
from cc_ray.serve.login.file import Known, LoginFile
from cc_ray.serve.login.identity import Identity
from cc_ray.serve.login.seal import Seal

Result = TypeVar("Result")

LONGEST_PASSWORD: Final = 1024
"""Characters; more are refused unread."""
_HASHING: Final = 2
"""Passwords that are compared at once: each takes 32 MB and a core."""


class TooManyTries(CcRayError):
    """Somebody tried too often.

    Args:
        wait_s: Seconds until the next try.
    """

    def __init__(self, wait_s: int) -> None:
        self.wait_s = wait_s
        super().__init__(f"too many tries that failed: wait {wait_s} s.")


class Door:
    """Says who somebody is.

    Args:
        file: Who may enter.
        hours: How long a login lasts.
    """

    def __init__(self, file: LoginFile, hours: float) -> None:
        self._file = file
        self.lifetime_s = hours * 3600
        self._by_address = Backoff(free=10, longest_s=900)
        # Short: whoever guesses at a name must not keep its owner out.
        self._by_name = Backoff(free=10, longest_s=30)
        self._ended: Recent[bool] = Recent()
        self._checked: Recent[str] = Recent(1000)
        self._hashing: CapacityLimiter | None = None

    @property
    def known(self) -> Known:
        """What the login file says now."""
        return self._file.known

    def cookie(self, name: str, role: str = "") -> str:
        """A cookie for somebody: with a role as a provider gives it, without one as the login file does."""
        what = {"name": name, "role": role} if role else {"name": name, "password": self._password(name)}
        return self._seal.closed(what, self.lifetime_s)

    def known_by(self, cookie: str) -> Identity | None:
        """Whose cookie it is; None if it is over, or if they may no longer enter."""
        value = self._seal.opened(cookie) if cookie and not self._ended.get(cookie) else None
        return self._identity(value) if value else None

    def end(self, cookie: str) -> None:
        """Let a cookie count no longer, in this process."""
        if self._seal.opened(cookie):
            self._ended.put(cookie, True)

    async def enter(self, name: str, password: str, address: str) -> bool:
        """Whether a name and a password belong together.

        Raises:
            TooManyTries: If there were many wrong ones for this name or from this address.
        """
        address = network(address)
        wait = max(self._by_address.wait(address), self._by_name.wait(name[:128]))
        if wait:
            raise TooManyTries(ceil(wait))
        person = self.known.users.get(name)
        kept = (person.password if person else "") or await self._apart(passwords.nobodys)
        right = len(password) <= LONGEST_PASSWORD and await self._apart(passwords.matches, password, kept)
        if right and person and person.password:
            self._by_name.succeeded(name)
            return True
        self._by_address.failed(address)
        self._by_name.failed(name[:128])
        return False

    async def program(self, authorization: str, address: str) -> Identity | None:
        """Who a program is by its header `Authorization`: `Bearer TOKEN`, or `Basic` with a name and password.

        Raises:
            TooManyTries: As `enter` does.
        """
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return self._by_token(credentials.strip())
        if scheme.lower() == "basic":
            return await self._by_password(credentials.strip(), address)
        return None

    def _by_token(self, token: str) -> Identity | None:
        digest = passwords.digest(token)
        found = [
            Identity(name, person.role, program=True)
            for name, person in self.known.users.items()
            if hmac.compare_digest(digest.encode(), person.token.encode())
        ]
        return found[0] if found else None

    async def _by_password(self, credentials: str, address: str) -> Identity | None:
        try:
            name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (ValueError, binascii.Error):
            return None
        # A program asks often, and a slow hash each time would keep others from being answered.
        proof = self._seal.fingerprint(f"{name}:{self._password(name)}:{password}")
        if not self._checked.get(proof):
            if not await self.enter(name, password, address):
                return None
            self._checked.put(proof, name)
        person = self.known.users.get(name)
        return Identity(name, person.role, program=True) if person else None

    async def _apart(self, work: Callable[..., Result], *arguments: str) -> Result:
        """What is slow, in a thread; a few at a time."""
        self._hashing = self._hashing or CapacityLimiter(_HASHING)
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._hashing)

    def _identity(self, value: dict[str, Any]) -> Identity | None:
        if role := value.get("role"):
            return Identity(value["name"], role, value["until"]) if self.known.oidc else None
        person = self.known.users.get(value["name"])
        same = person and hmac.compare_digest(value["password"], self._password(value["name"]))
        return Identity(value["name"], person.role, value["until"]) if person and same else None

    def _password(self, name: str) -> str:
        """Stands in cookies so that another password ends them."""
        person = self.known.users.get(name)
        return self._seal.fingerprint(person.password) if person else ""

    @property
    def _seal(self) -> Seal:
        return Seal(self.known.key, "login")


def cookie_name(scope: Scope) -> str:
    """Of the login's cookie. Over TLS it has a prefix with which browsers take it from nobody else than this host."""
    return "__Host-cc-ray" if scope["scheme"] in ("https", "wss") else "cc-ray"


def cookies(scope: Scope) -> dict[str, str]:
    """The cookies of a request."""
    return dict(_pairs(Headers(scope=scope).getlist("cookie")))


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    for part in ";".join(lines).split(";"):
        name, separator, value = part.strip().partition("=")
        if separator:
            yield name, value
