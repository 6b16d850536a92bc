"""What a login file says of an OpenID provider, and which role a person of it gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator


class Provider(BaseModel, extra="forbid", frozen=True):
    """The table `oidc` of a login file."""

    issuer: str
    """Where its `/.well-known/openid-configuration` lies: https, or http on this machine."""
    client_id: str = Field(min_length=1)
    client_secret: str = ""
    """Empty for a public client: then PKCE alone protects the code."""
    title: str = "single sign-on"
    """Its name on the login page."""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    readers: tuple[str, ...] = ()
    """E-mail addresses of readers; `*@example.org` for all of a domain."""
    operators: tuple[str, ...] = ()
    """E-mail addresses of operators, likewise."""
    groups_claim: str = "groups"
    """The claim that lists a person's groups or roles."""
    reader_groups: tuple[str, ...] = ()
    operator_groups: tuple[str, ...] = ()
    trust_email: bool = False
    """Take addresses that the provider does not call verified: right where it gives people their addresses itself."""

    @field_validator("issuer")
    @classmethod
    def _is_safe(cls, issuer: str) -> str:
        parts = urlsplit(issuer)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")):
            raise ValueError("must be an https address")
        return issuer.rstrip("/")

    def role(self, claims: Mapping[str, Any]) -> Literal["reader", "operator"] | None:
        """The role of the person whom checked claims describe; None if they may not enter."""
        email = self.email(claims)
        found = claims.get(self.groups_claim)
        groups = {found} if isinstance(found, str) else set(map(str, found)) if isinstance(found, list) else set()
        if groups & set(self.operator_groups) or _listed(email, self.operators):
            return "operator"
        if groups & set(self.reader_groups) or _listed(email, self.readers):
            return "reader"
        return None

    def email(self, claims: Mapping[str, Any]) -> str:
        """Their e-mail address in small letters; empty if there is none to rely on."""
        email = claims.get("email")
        verified = claims.get("email_verified") is True or self.trust_email
        return email.lower() if isinstance(email, str) and verified else ""


def _listed(email: str, patterns: tuple[str, ...]) -> bool:
    return email.count("@") == 1 and any(_fits(email, pattern.lower()) for pattern in patterns)


def _fits(email: str, pattern: str) -> bool:
    if pattern.startswith("*@"):
        return email.partition("@")[2] == pattern[2:]
    return email == pattern
