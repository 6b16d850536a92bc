"""What a request says of itself, put right: by the word of trusted proxies, else by the connection alone.

A proxy that ends TLS tells in `X-Forwarded-For`, `-Proto` and `-Host` what it was asked. Anybody can send these, so
they count only from the addresses that are named as proxies.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

Network = IPv4Network | IPv6Network
SCHEMES = {"http": {"http": "http", "https": "https"}, "websocket": {"http": "ws", "https": "wss"}}


class Proxies:
    """Puts address, scheme and host of each request right.

    Args:
        app: What is asked.
        trusted: Addresses of proxies.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, put right."""
        if scope["type"] in SCHEMES:
            scope = self._right(scope)
        await self._app(scope, receive, send)

    def _right(self, scope: Scope) -> Scope:
        headers = Headers(scope=scope)
        address = peer(scope)
        forwarded = headers.getlist("x-forwarded-for")
        put: Scope = {**scope, "direct": not forwarded and "forwarded" not in headers}
        if self._trusts(address):
            put["client"] = (self._origin(address, forwarded), 0)
            schemes = SCHEMES[scope["type"]]
            put["scheme"] = schemes.get(last(headers.get("x-forwarded-proto", "")), scope["scheme"])
            host = last(headers.get("x-forwarded-host", ""))
            if host:
                changed = MutableHeaders(raw=list(scope["headers"]))
                changed["host"] = host
                put["headers"] = changed.raw
        else:
            put["client"] = (address, 0)
        return put

    def _origin(self, address: str, forwarded: list[str]) -> str:
        """The last address that a trusted proxy was asked from."""
        for hop in reversed([part.strip() for line in forwarded for part in line.split(",")]):
            if not _is_address(hop):
                break
            address = hop
            if not self._trusts(hop):
                break
        return address

    def _trusts(self, address: str) -> bool:
        return _is_address(address) and any(ip_address(address) in network for network in self._trusted)


def peer(scope: Scope) -> str:
    """The address at the other end of the connection.

    Serve's own proxy believes the headers of those who connect from this machine, and then gives the port as 0, which
    no connection has.
    """
    address, port = scope.get("client") or ("", 0)
    return "127.0.0.1" if port == 0 and address else str(address)


def is_near(scope: Scope) -> bool:
    """Whether a request, put right, comes from this machine itself and through no proxy."""
    address = scope["client"][0]
    return bool(scope["direct"]) and _is_address(address) and ip_address(address).is_loopback


def last(values: str) -> str:
    """The last of several values: what the nearest proxy says."""
    return values.rpartition(",")[2].strip()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
