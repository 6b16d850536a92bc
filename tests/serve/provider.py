"""A small OpenID provider: discovery, authorization with PKCE, tokens signed with an RSA key."""

import base64
import hashlib
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

import uvicorn
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

CLIENT, SECRET = "cc-ray", "a-secret-of-the-client"


@dataclass
class SmallProvider:
    """Logs everybody in at once, as the person whom `claims` describe."""

    port: int
    claims: dict[str, Any] = field(default_factory=dict)
    """Put over those that are right."""
    header: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    signs_with: RSAKey | None = None
    """Another key than the one it publishes."""
    denies: bool = False
    asked: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def discovery(self, request: Request) -> Response:
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return JSONResponse({"issuer": self.issuer, **{name: f"{self.issuer}/{end}" for name, end in ends.items()}})

    def keys(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    def authorize(self, request: Request) -> Response:
        given = dict(request.query_params)
        assert given["response_type"] == "code" and given["code_challenge_method"] == "S256", given
        answer = {"error": "access_denied"} if self.denies else {"code": f"code-{len(self.asked)}"}
        self.asked[answer.get("code", "")] = given
        return RedirectResponse(f"{given['redirect_uri']}?{urlencode({**answer, 'state': given['state']})}")

    async def token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        client = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        asked = self.asked.pop(form["code"], None)
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        )
        if client != f"{CLIENT}:{SECRET}" or asked is None or asked["code_challenge"] != challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        right = {"iss": self.issuer, "aud": CLIENT, "sub": "7", "exp": int(time.time()) + 60, "nonce": asked["nonce"]}
        claims = {name: value for name, value in {**right, **self.claims}.items() if value is not None}
        signed = jwt.encode({"alg": "RS256", "kid": "one", **self.header}, claims, self.signs_with or self.key)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": signed})

    def app(self) -> FastAPI:
        app = FastAPI()
        app.add_route("/.well-known/openid-configuration", self.discovery)
        app.add_route("/keys", self.keys)
        app.add_route("/authorize", self.authorize)
        app.add_route("/token", self.token, methods=["POST"])
        return app


class Running:
    """A provider that listens, in a thread."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.provider = SmallProvider(self._socket.getsockname()[1])
        config = uvicorn.Config(self.provider.app(), log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()

    def end(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
