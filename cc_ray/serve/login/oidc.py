"""Logging in through an OpenID provider: authorization code with PKCE, state and nonce; the identity token is checked.

What has to come back unchanged travels in a sealed cookie, so any replica can finish what another one began.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from cc_ray.errors import CcRayError
from cc_ray.serve.login.provider import Provider

Answer = TypeVar("Answer")

_TIMEOUT_S: Final = 10.0
_KEEP_S: Final = 3600.0
"""How long it is believed that a provider's addresses stay as they are."""
_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures that need the provider's private key; never `none`, never one with the client's secret."""
_LEEWAY_S: Final = 60


class ProviderError(CcRayError):
    """The provider does not answer as it should, or says something that does not check."""


@dataclass(frozen=True)
class Begun:
    """A login on its way."""

    address: str
    """Where the browser goes."""
    kept: dict[str, str]
    """What has to come back with it: state, nonce and the verifier of PKCE."""


class Flow:
    """Speaks with one provider; waits for it, so not for the event loop.

    Args:
        provider: As the login file says.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._found: dict[str, Any] = {}
        self._found_at = 0.0

    def begin(self, back: str) -> Begun:
        """Begin a login that comes back to an address.

        Raises:
            ProviderError: If the provider does not say where to go.
        """
        kept = {name: secrets.token_urlsafe(48) for name in ("state", "nonce", "verifier")}
        address, _ = self._session(back).create_authorization_url(
            self._endpoint("authorization_endpoint"),
            state=kept["state"],
            nonce=kept["nonce"],
            code_verifier=kept["verifier"],
        )
        return Begun(address, kept)

    def finish(self, back: str, code: str, kept: dict[str, str]) -> dict[str, Any]:
        """The checked claims about the person who came back with a code.

        Raises:
            ProviderError: If the code is not taken, or the token does not check.
        """
        token = _asked(
            lambda: self._session(back).fetch_token(
                self._endpoint("token_endpoint"), code=code, code_verifier=kept["verifier"], timeout=_TIMEOUT_S
            )
        )
        keys = _asked(lambda: KeySet.import_key_set(_json(self._endpoint("jwks_uri"))))
        return _asked(lambda: self._claims(str(token["id_token"]), keys, kept["nonce"]))

    def _claims(self, token: str, keys: KeySet, nonce: str) -> dict[str, Any]:
        """The claims of an identity token that this provider made, for us, now, and for this very login."""
        claims: dict[str, Any] = jwt.decode(token, keys, algorithms=_ALGORITHMS).claims
        client = self.provider.client_id
        jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self._discovered()["issuer"]},
            aud={"essential": True, "value": client},
            sub={"essential": True},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(claims)
        if claims.get("azp", client) != client:
            raise ProviderError("the identity token was made for another client.")
        return claims

    def _session(self, back: str) -> OAuth2Session:
        provider = self.provider
        return OAuth2Session(
            provider.client_id,
            provider.client_secret or None,
            scope=" ".join(provider.scopes),
            redirect_uri=back,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if provider.client_secret else "none",
        )

    def _endpoint(self, name: str) -> str:
        address = str(self._discovered().get(name, ""))
        if urlsplit(address).scheme != urlsplit(self.provider.issuer).scheme:
            raise ProviderError(f"the provider {self.provider.issuer} names no safe {name}.")
        return address

    def _discovered(self) -> dict[str, Any]:
        if time.monotonic() - self._found_at > _KEEP_S or not self._found:
            found: dict[str, Any] = _asked(lambda: _json(f"{self.provider.issuer}/.well-known/openid-configuration"))
            if str(found.get("issuer", "")).rstrip("/") != self.provider.issuer:
                raise ProviderError(f"the provider {self.provider.issuer} calls itself something else.")
            self._found, self._found_at = found, time.monotonic()
        return self._found


def _json(address: str) -> Any:
    answer = requests.get(address, timeout=_TIMEOUT_S, allow_redirects=False)
    answer.raise_for_status()
    return answer.json()


def _asked(ask: Callable[[], Answer]) -> Answer:
    """What a provider answers; whatever is wrong with it is one error, which tells nothing secret."""
    try:
        return ask()
    except (requests.RequestException, AuthlibBaseError, JoseError, ValueError, KeyError) as error:
        raise ProviderError(f"what the provider says does not check ({type(error).__name__}).") from None
